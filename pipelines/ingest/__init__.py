"""Logs into raw tables: once and only once, redacted, with a ledger of what was read."""

from pipelines.ingest.files import Unreadable, discover
from pipelines.ingest.projects import BadProject
from pipelines.ingest.report import IngestReport, Problem, Progress, TableCounts
from pipelines.ingest.runner import WorkerDied, run

__all__ = [
    "BadProject",
    "IngestReport",
    "Problem",
    "Progress",
    "TableCounts",
    "Unreadable",
    "WorkerDied",
    "discover",
    "run",
]
