"""One execution while its lines are being read, and the rules that give it its status."""

from datetime import datetime
from typing import Literal

import msgspec

from pipelines.sources.content import ERROR_CHARACTERS
from pipelines.sources.records import Execution, Status, ToolCall

End = Literal["complete", "aborted", "steered"]


class OpenExecution(msgspec.Struct):
    """An execution and the evidence about its end so far."""

    record: Execution
    turn_id: str | None = None
    announces_end: bool = False
    """The client writes down when a turn starts, so it also writes down when it ends."""
    was_answered: bool = False
    """The model wrote, called a tool or used tokens."""
    end: End | None = None
    """How the turn ended; ``steered`` when the person said more while it ran."""
    abort_reason: str = "aborted"
    error: str | None = None
    """Text of the error after which nothing was answered."""

    def reached(self, moment: datetime) -> None:
        """Work was still going on at ``moment``."""
        self.record.ended_at = max(self.record.ended_at, moment)

    def answered(self, moment: datetime) -> None:
        """The model worked."""
        self.was_answered = True
        self.error = None
        self.reached(moment)

    def finished(self, tools: dict[str, ToolCall], *, is_last: bool) -> Execution:
        """The record with its status; ``is_last`` when nothing follows in the file so far."""
        record = self.record
        record.status, record.status_reason = self._status(tools, is_last=is_last)
        error = self.error if record.status == "failed" else None
        record.error_message = error[:ERROR_CHARACTERS] if error else None
        return record

    def _status(self, tools: dict[str, ToolCall], *, is_last: bool) -> tuple[Status, str]:
        if self.end == "aborted":
            return "cancelled", self.abort_reason
        if self.error is not None:
            return "failed", "api_error"
        if self.end == "steered":
            return "completed", "steered"
        if self.end == "complete":
            return ("completed", "answered") if self.was_answered else ("failed", "no_answer")
        if not self.was_answered:
            return "pending", "no_answer"
        if self.announces_end:
            return "pending", "no_end"
        if is_last and any(self._waits_for(call) for call in tools.values()):
            return "pending", "unanswered_tool"
        return "completed", "answered"

    def _waits_for(self, call: ToolCall) -> bool:
        return call.status == "unanswered" and call.execution_id == self.record.id
