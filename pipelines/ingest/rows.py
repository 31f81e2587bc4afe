"""Records of readers → rows of the staging tables: redacted, analysed, checked, owned by a project.

Whatever PostgreSQL would refuse is found here, one record at a time, so that a single bad record goes to
quarantine and its neighbours are stored.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from pipelines.commands import analyse
from pipelines.ingest.files import keyed_hash
from pipelines.ingest.prices import priced_name
from pipelines.ingest.redaction import Redactor
from pipelines.sources.cutting import cut
from pipelines.sources.records import BadLine, Execution, ModelRequest, ToolCall, stable_uuid

MAX_COMMAND = 100_000
"""Characters of a command that are kept; a longer one says how much was cut."""
MAX_ERROR = 4_000
MAX_TOKENS = 10**12
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=7)
"""How far the clock of a log may be ahead of ours."""

Row = tuple[Any, ...]
T = TypeVar("T")
R = TypeVar("R")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Origin:
    """The file that records come from."""

    project_id: str | None
    """None as long as only bad lines are known, and no directory."""
    device_id: str
    source: str
    file_key: str
    path: str
    """Redacted."""


@dataclass
class StagedRows:
    """Rows of one batch, table by table, in the column order of sql/stage.sql."""

    executions: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    tool_calls: list[Row] = field(default_factory=list)
    bad_lines: list[Row] = field(default_factory=list)
    first_at: datetime | None = None
    last_at: datetime | None = None
    models: set[str] = field(default_factory=set)
    """Names under which prices are looked up."""


class RowBuilder:
    """Makes rows for one batch. ``add`` collects records; ``rows`` redacts all texts in one scan."""

    def __init__(self, redactor: Redactor, key: bytes, now: datetime) -> None:
        self._redactor = redactor
        self._key = key
        self._latest = now + AHEAD
        # Nothing here refers back to the builder: a batch is gone with the last reference to it.
        self._name = _Remembered(partial(_redacted_name, redactor)).__getitem__
        self._orphan_id = _Remembered(orphan_id).__getitem__
        self._context = _Remembered(partial(_redacted_context, redactor)).__getitem__
        self._staged = StagedRows()
        self._moments: list[datetime] = []
        self._models: set[tuple[str, str | None]] = set()
        self._executions: list[tuple[Origin, Execution]] = []
        self._tool_calls: list[tuple[Origin, ToolCall, datetime, str | None]] = []

    def add(
        self,
        origin: Origin,
        executions: Sequence[Execution],
        requests: Sequence[ModelRequest],
        tool_calls: Sequence[ToolCall],
        bad: Iterable[BadLine],
    ) -> None:
        """Takes over the records of one chunk; those that cannot be stored go to quarantine."""
        latest = self._latest
        starts: dict[str, datetime] = {}
        owners: dict[str | None, str] = {}
        for execution in executions:
            if EARLIEST <= execution.timestamp <= latest and EARLIEST <= execution.ended_at <= latest:
                starts[execution.id] = execution.timestamp
                owners[execution.id] = execution_uuid(execution)
                self._executions.append((origin, execution))
                self._moments.append(execution.timestamp)
            else:
                self._refuse_date(origin, execution, execution.timestamp, execution.line)
        fallback = next(iter(starts.values()), None)
        for request in requests:
            timestamp = request.timestamp or starts.get(request.execution_id or "") or fallback
            if timestamp is None or not EARLIEST <= timestamp <= latest:
                self._refuse_date(origin, request, timestamp)
            elif problem := _bad_tokens(request):
                self._refuse(origin, 0, request.offset, "invalid_value", problem)
            else:
                self._moments.append(timestamp)
                self._models.add((request.model, request.speed))
                owner = owners.get(request.execution_id)
                self._staged.requests.append(self._request_row(origin, request, timestamp, owner))
        for call in tool_calls:
            timestamp = call.timestamp or starts.get(call.execution_id or "") or fallback
            if timestamp is None or not EARLIEST <= timestamp <= latest:
                self._refuse_date(origin, call, timestamp)
            else:
                self._moments.append(timestamp)
                self._tool_calls.append((origin, call, timestamp, owners.get(call.execution_id)))
        for line in bad:
            self._quarantine(origin, line)

    def rows(self) -> StagedRows:
        """All rows, every text redacted."""
        texts: list[str] = []
        for _, execution in self._executions:
            texts.append(_cut(execution.command, MAX_COMMAND))
            texts.append(_cut(execution.error_message or "", MAX_ERROR))
        for _, call, _, _ in self._tool_calls:
            texts.append(_cut(call.error_message or "", MAX_ERROR))
        redacted = iter([text.replace("\x00", "\ufffd") for text in self._redactor.texts(texts)])
        staged = self._staged
        for origin, execution in self._executions:
            staged.executions.append(self._execution_row(origin, execution, next(redacted), next(redacted)))
        for origin, call, timestamp, owner in self._tool_calls:
            staged.tool_calls.append(self._tool_call_row(origin, call, timestamp, owner, next(redacted)))
        staged.first_at, staged.last_at = min(self._moments, default=None), max(self._moments, default=None)
        staged.models = {priced_name(model, speed) for model, speed in self._models}
        return staged

    def _execution_row(self, origin: Origin, execution: Execution, command: str, error: str) -> Row:
        analysed = analyse(command, execution.command_name and self._name(execution.command_name))
        return (
            origin.project_id,
            execution_uuid(execution),
            execution.timestamp,
            stable_uuid(execution.session_id) if execution.session_id and execution.kind != "run" else None,
            execution.sequence,
            execution.kind,
            command,
            analysed.base,
            _json(analysed.args),
            _json(analysed.features),
            f"v1:{execution.kind}" if execution.kind in ("run", "orphan") else analysed.signature,
            self._context(_encode(execution.workspace)),
            self._context(_encode(execution.session)),
            self._name(execution.session_id),
            origin.device_id,
            origin.source,
            origin.file_key,
            execution.line,
            max(execution.ended_at, execution.timestamp),
            execution.status,
            execution.status_reason,
            error or None,
            _milliseconds(execution),
            None if execution.reported_usage is None else _json(execution.reported_usage),
            _json(execution.output),
        )

    def _request_row(self, origin: Origin, request: ModelRequest, timestamp: datetime, owner: str | None) -> Row:
        return (
            origin.project_id,
            self._id(request.message_id),
            request.request_id and self._id(request.request_id),
            timestamp,
            "synthetic" if request.is_synthetic else "response",
            self._name(request.session_id),
            owner,
            self._orphan_id(request.session_id or origin.file_key),
            request.prompt_id and stable_uuid(request.prompt_id),
            self._name(request.agent_id),
            self._name(request.model),
            self._name(request.service_tier),
            self._name(request.speed),
            self._name(request.stop_reason),
            request.input_tokens,
            request.cache_creation_5m_tokens,
            request.cache_creation_1h_tokens,
            request.cache_read_tokens,
            request.output_tokens,
            request.web_search_requests,
            request.reported_cost_usd,
            request.is_output_reliable,
            request.line_count,
            origin.source,
            origin.file_key,
            request.offset,
        )

    def _tool_call_row(self, origin: Origin, call: ToolCall, timestamp: datetime, owner: str | None, error: str) -> Row:
        return (
            origin.project_id,
            self._id(call.tool_use_id),
            timestamp,
            self._name(call.session_id),
            owner,
            self._orphan_id(call.session_id or origin.file_key),
            call.prompt_id and stable_uuid(call.prompt_id),
            call.message_id and self._id(call.message_id),
            self._name(call.agent_id),
            self._name(call.spawned_agent_id),
            self._name(call.tool_name),
            None if call.duration_ms is None else max(call.duration_ms, 0),
            call.status,
            error or None,
            origin.source,
            origin.file_key,
            call.offset,
        )

    def _quarantine(self, origin: Origin, line: BadLine) -> None:
        self._staged.bad_lines.append(
            (
                keyed_hash(self._key, origin.file_key, str(line.offset), line.reason, line.sample),
                origin.file_key,
                origin.path,
                line.line,
                line.offset,
                line.length,
                origin.source,
                origin.project_id,
                line.reason,
                self._redactor.text(line.detail).replace("\x00", "\ufffd"),
                self._redactor.sample(line.sample).replace("\x00", "\ufffd"),
            )
        )

    def _refuse_date(
        self, origin: Origin, record: Execution | ModelRequest | ToolCall, timestamp: datetime | None, line: int = 0
    ) -> None:
        dated = "without a date" if timestamp is None else f"dated {timestamp.isoformat()}"
        detail = f"A record is {dated}; dates from {EARLIEST.date()} to {self._latest.date()} are taken."
        self._refuse(origin, line, record.offset, "timestamp_out_of_range", detail)

    def _refuse(self, origin: Origin, line: int, offset: int, reason: str, detail: str) -> None:
        self._quarantine(origin, BadLine(line=line, offset=offset, length=0, reason=reason, detail=detail, sample=b""))

    def _id(self, value: str) -> str:
        """Ids of clients and back ends pass as they are; what looks like a secret, or like no id at all, is hashed."""
        if _KNOWN_ID.fullmatch(value):
            return value
        is_harmless = _LOOKS_LIKE_ID.fullmatch(value) and self._redactor.text(value) == value
        return value if is_harmless else keyed_hash(self._key, value)


class _Remembered(dict[T, R]):
    """What ``make`` gives for a key, made once: a batch holds few distinct names, sessions and folders."""

    def __init__(self, make: Callable[[T], R]) -> None:
        self._make = make

    def __missing__(self, key: T) -> R:
        value = self[key] = self._make(key)
        return value


def _redacted_name(redactor: Redactor, value: str | None) -> str | None:
    return None if value is None else redactor.text(value[:200]).replace("\x00", "\ufffd")


def _redacted_context(redactor: Redactor, encoded: bytes) -> str:
    return _json(redactor.tree(msgspec.json.decode(encoded)))


_KNOWN_ID = re.compile(r"(?:msg|req|toolu|srvtoolu|call|gen|chatcmpl)[_-][A-Za-z0-9_-]{1,100}|[0-9a-f-]{36}")
_LOOKS_LIKE_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_ORPHAN_PREFIX = "00000000"


def execution_uuid(execution: Execution) -> str:
    """Id of the execution; that of an orphan is told by its prefix wherever it appears."""
    return orphan_id(execution.session_id or execution.id) if execution.kind == "orphan" else execution.id


def orphan_id(session: str) -> str:
    """The execution that holds a session's work as long as its command is not in the logs."""
    return _ORPHAN_PREFIX + stable_uuid("orphan:" + session)[len(_ORPHAN_PREFIX) :]


_TOKENS = (
    "input_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
    "output_tokens",
    "web_search_requests",
)
_tokens_of = attrgetter(*_TOKENS)


def _milliseconds(execution: Execution) -> int | None:
    """Wall time: the client's own figure, else up to the last answer or tool result; None where there is neither."""
    if execution.duration_ms is not None:
        return max(execution.duration_ms, 0)
    if execution.ended_at <= execution.timestamp:
        return None
    return int((execution.ended_at - execution.timestamp) / timedelta(milliseconds=1))


def _bad_tokens(request: ModelRequest) -> str | None:
    counts = _tokens_of(request)
    if min(counts) < 0 or max(counts) > MAX_TOKENS:
        name, count = next((n, c) for n, c in zip(_TOKENS, counts, strict=True) if not 0 <= c <= MAX_TOKENS)
        return f"{name} is {count}, which is no number of tokens."
    cost = request.reported_cost_usd
    if cost is not None and not 0 <= cost < 1e9:
        return f"The reported cost is {cost} USD."
    return None


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    kept = cut(text, limit)
    return f"{kept}… [{len(text) - len(kept)} characters more]"


def _json(value: Any) -> str:
    return _encode(value).decode()
