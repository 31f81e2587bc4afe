"""Collects the records of several segments into one chunk, each identity once."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipelines.sources.lines import Item, bad_line
from pipelines.sources.records import BadLine, Chunk, Execution, ModelRequest, ToolCall
from pipelines.sources.responses import Key


class Draft:
    """A chunk in the making."""

    def __init__(self) -> None:
        self._executions: dict[str, Execution] = {}
        self._requests: dict[Key, ModelRequest] = {}
        self._tools: dict[str, ToolCall] = {}
        self._bad: list[BadLine] = []
        self._good = 0
        self._blank = 0
        self.unknown: Counter[str] = Counter()

    def takes(self, item: Item) -> bool:
        """True for a line to be understood; a blank or bad one is counted here and done with."""
        if item.value is None:
            self._blank += 1
            return False
        if isinstance(item.value, BadLine):
            self._bad.append(item.value)
            return False
        return True

    def understood(self) -> None:
        """One more good line."""
        self._good += 1

    def unusable(self, item: Item, error: Exception) -> None:
        """A line whose content turned out to be unusable."""
        self._bad.append(bad_line(item.line, error, item.number, item.offset))

    def add(self, execution: Execution | None, requests: Iterable[ModelRequest], tools: Iterable[ToolCall]) -> None:
        """Records of one segment; those of an identity seen before replace it, except for what first sight fixes."""
        if execution is not None:
            self._executions[execution.id] = execution
        for request in requests:
            key = (request.message_id, request.request_id)
            known = self._requests.get(key)
            self._requests[key] = request if known is None else _merged(known, request)
        for call in tools:
            self._tools[call.tool_use_id] = call

    def chunk(
        self, *, offset: int, lines: int, state: dict[str, Any], cwd: str | None, open_unknown: Counter[str]
    ) -> Chunk:
        """The chunk, with the place from where to go on."""
        return Chunk(
            offset=offset,
            lines=lines,
            state=state,
            executions=list(self._executions.values()),
            requests=list(self._requests.values()),
            tool_calls=list(self._tools.values()),
            bad=self._bad,
            unknown=self.unknown,
            open_unknown=open_unknown,
            good_lines=self._good,
            blank_lines=self._blank,
            cwd=cwd,
        )


def _merged(known: ModelRequest, later: ModelRequest) -> ModelRequest:
    if known.output_tokens > later.output_tokens:
        return known
    later.execution_id, later.timestamp, later.offset = known.execution_id, known.timestamp, known.offset
    return later
