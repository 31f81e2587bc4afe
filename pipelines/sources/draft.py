"""Collects the records of several segments into one chunk, each identity once, every text fit to be stored.

PostgreSQL cannot store the NUL character, which JSON can write: it is replaced by U+FFFD, and an execution of which
a text was changed so says it in ``output["nul_replaced"]``.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from pipelines.sources.lines import Item, bad_line
from pipelines.sources.records import BadLine, Chunk, Execution, ModelRequest, ToolCall
from pipelines.sources.responses import Key

_NUL = b"\\u0000"
_as_json = msgspec.json.Encoder().encode


class Draft:
    """A chunk in the making."""

    def __init__(self) -> None:
        self._executions: dict[str, Execution] = {}
        self._requests: dict[Key, ModelRequest] = {}
        self._tools: dict[str, ToolCall] = {}
        self._bad: list[BadLine] = []
        self._blank_lines = 0
        self.good_lines = 0
        self.unknown: Counter[str] = Counter()

    def set_aside(self, line: BadLine | None) -> None:
        """Keep a bad line, count a blank one."""
        if line is not None:
            self._bad.append(line)
        else:
            self._blank_lines += 1

    def unusable(self, item: Item, error: Exception) -> None:
        """A line whose content turned out to be unusable."""
        self._bad.append(bad_line(item.line, error, item.number, item.offset))

    def add(self, execution: Execution | None, requests: Iterable[ModelRequest], tools: Iterable[ToolCall]) -> None:
        """Records of one segment; those of an identity seen before replace it, except for what first sight fixes."""
        requests, tools = list(requests), list(tools)
        if _NUL in _as_json((execution, requests, tools)):
            records: list[ModelRequest | ToolCall] = [*requests, *tools]
            for record in records:
                _replace_nul(record)
            if execution is not None and _replace_nul(execution):
                execution.output["nul_replaced"] = True
        if execution is not None:
            self._executions[execution.id] = execution
        for request in requests:
            key = (request.message_id, request.request_id)
            known = self._requests.get(key)
            self._requests[key] = request if known is None else merged(known, request)
        for call in tools:
            self._tools[call.tool_use_id] = call

    def chunk(
        self, *, offset: int, lines: int, state: dict[str, Any], cwd: str | None, open_unknown: Counter[str]
    ) -> Chunk:
        """The chunk, with the place from where to go on."""
        return Chunk(
            offset=offset,
            lines=lines,
            state=_without_nul(state) if _NUL in _as_json(state) else state,
            executions=list(self._executions.values()),
            requests=list(self._requests.values()),
            tool_calls=list(self._tools.values()),
            bad=self._bad,
            unknown=Counter(_without_nul(dict(self.unknown))),
            open_unknown=Counter(_without_nul(dict(open_unknown))),
            good_lines=self.good_lines,
            blank_lines=self._blank_lines,
            cwd=_without_nul(cwd),
        )


def merged(known: ModelRequest, later: ModelRequest) -> ModelRequest:
    """One request of two sights of it: the larger output stands, the first sight fixes time, place and execution."""
    if known.output_tokens > later.output_tokens:
        return known
    later.execution_id, later.timestamp, later.offset = known.execution_id, known.timestamp, known.offset
    return later


def _replace_nul(record: Execution | ModelRequest | ToolCall) -> bool:
    """Make the texts of ``record`` fit to be stored; True when one had to be changed."""
    changed = False
    for name in record.__struct_fields__:
        value = getattr(record, name)
        kind = type(value)
        if (kind is str and "\0" in value) or (kind is dict and value and value != _without_nul(value)):
            setattr(record, name, _without_nul(value))
            changed = True
    return changed


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value
