"""Steps of a trace, whose keys are used loosely: what has a ``tool`` is a tool call, whatever it is called."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pipelines.sources.json_documents import moment, text_of
from pipelines.sources.outputs import ToolUse
from pipelines.sources.steps import cut


class Step(msgspec.Struct):
    """One step."""

    action: str | None = None
    tool: str | None = None
    content: Any = None
    prompt: Any = None
    input: Any = None
    output: Any = None
    duration_ms: float | None = None
    success: bool | None = None
    timestamp: str | None = None
    error: Any = None

    @property
    def error_message(self) -> str | None:
        """What a failed step gave instead of its result."""
        return text_of(self.error if self.error is not None else self.output) or None


def steps_of(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps for a trajectory."""
    return [
        {name: value for name, value in (
            ("type", step.action),
            ("tool", step.tool),
            ("text", cut(text_of(step.content if step.content is not None else step.prompt))),
            ("input", cut(text_of(step.input))),
            ("output", cut(text_of(step.output))),
            ("duration_ms", step.duration_ms),
            ("at", step.timestamp),
        ) if value not in (None, "")}
        for step in steps
    ]  # fmt: skip


def tools_of(steps: Sequence[Step]) -> list[ToolUse]:
    """The tool calls among the steps. Raises UnusableLine for a time that cannot be read."""
    return [
        ToolUse(
            tool_name=step.tool,
            status="error" if step.success is False else "ok",
            started_at=moment(step.timestamp, "A step's timestamp"),
            duration_ms=step.duration_ms,
            error_message=step.error_message if step.success is False else None,
        )
        for step in steps
        if step.tool
    ]
