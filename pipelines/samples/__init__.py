"""Sample logs: genuine-looking transcripts of any size, with the truth about what they hold."""

from pipelines.samples.generator import DEFAULT_BYTES, LAST_DAY, PROJECT_NAMES, UNKNOWN_MODEL, generate
from pipelines.samples.texts import COMPACT, REAL, Texture
from pipelines.samples.truth import ExecutionKey, SampleTruth, ToolKey, Usage, UsageKey

__all__ = [
    "COMPACT",
    "DEFAULT_BYTES",
    "LAST_DAY",
    "PROJECT_NAMES",
    "REAL",
    "UNKNOWN_MODEL",
    "ExecutionKey",
    "SampleTruth",
    "Texture",
    "ToolKey",
    "Usage",
    "UsageKey",
    "generate",
]
