"""One execution while its lines are being read, and the rules that give it its status."""

from datetime import datetime

import msgspec

from pipelines.sources.content import ERROR_CHARACTERS
from pipelines.sources.records import Execution, Status, ToolCall

from .typed_text import Text


class OpenExecution(msgspec.Struct):
    """An execution and the evidence about its end so far."""

    record: Execution
    opening_uuid: str | None = None
    is_local: bool = False
    """Announced by the client as a command that it answers itself."""
    was_answered_locally: bool = False
    was_answered: bool = False
    """The main conversation holds an answer of the model."""
    was_interrupted: bool = False
    """The person interrupted, and nothing came after."""
    api_error: str | None = None
    """Text of the API error that is the last answer."""
    local_error: str | None = None
    """What a local or bash command wrote to its error output."""

    def reached(self, moment: datetime) -> None:
        """Work was still going on at ``moment``."""
        if moment > self.record.ended_at:
            self.record.ended_at = moment

    def answered(self, *, api_error: str | None) -> None:
        """The model, or the client in its name with an ``api_error``, answered in the main conversation."""
        self.was_answered = True
        self.was_interrupted = False
        self.api_error = api_error

    def answered_locally(self, text: Text) -> None:
        """A local or bash command gave its output."""
        self.was_answered_locally = True
        if text.error:
            self.local_error = text.error

    def finished(self, tools: dict[str, ToolCall], *, is_last: bool) -> Execution:
        """The record with its status; ``is_last`` when nothing follows in the file so far."""
        record = self.record
        if record.kind == "slash" and not self.was_answered and (self.is_local or self.was_answered_locally):
            record.kind = "local"
        elif record.kind == "local" and self.was_answered:
            record.kind = "slash"
        record.status, record.status_reason = self._status(tools, is_last=is_last)
        error = (self.api_error or self.local_error or "") if record.status == "failed" else ""
        record.error_message = error[:ERROR_CHARACTERS] or None
        return record

    def _status(self, tools: dict[str, ToolCall], *, is_last: bool) -> tuple[Status, str]:
        if self.api_error is not None:
            return "failed", "api_error"
        if self.was_interrupted:
            return "cancelled", "interrupted"
        if self.record.kind == "bash":
            return self._status_of_bash()
        if self.record.kind == "local":
            return ("failed", "local_error") if self.local_error else ("completed", "local")
        if not self.was_answered:
            return "pending", "no_answer"
        if is_last and any(self._waits_for(call) for call in tools.values()):
            return "pending", "unanswered_tool"
        return "completed", "answered"

    def _status_of_bash(self) -> tuple[Status, str]:
        """By the command's own output, whether or not the model went on to comment on it."""
        if not self.was_answered_locally:
            return "pending", "no_answer"
        return ("failed", "bash_stderr") if self.local_error else ("completed", "bash")

    def _waits_for(self, call: ToolCall) -> bool:
        return call.status == "unanswered" and call.agent_id is None and call.execution_id == self.record.id
