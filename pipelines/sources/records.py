"""What readers hand to ingest: typed records, unredacted, not yet owned by a project.

Readers are pure: bytes in, records out. Everything that needs a database (which project, which execution a
subagent belongs to, what a request cost) is settled by ingest.
"""

import uuid
from collections import Counter
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

Kind = Literal["prompt", "slash", "local", "bash", "run", "orphan"]
Status = Literal["pending", "completed", "failed", "timeout", "cancelled"]
ToolStatus = Literal["ok", "error", "rejected", "unanswered"]

_NAMESPACE = uuid.UUID("5f0b9c6e-6f0e-5d0c-9a57-1f8f7c6d2b11")


@lru_cache(maxsize=4096)
def stable_uuid(text: str) -> str:
    """The uuid that ``text`` is, else one derived from it: the same text always gives the same id."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, text))


class ReportedUsage(msgspec.Struct, frozen=True, gc=False):
    """What a headless run says it used of one model, background calls included."""

    model: str
    input_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    output_tokens: int
    web_search_requests: int
    cost_usd: float | None


class Execution(msgspec.Struct):
    """One user command or prompt with all work until the next one."""

    id: str
    kind: Kind
    timestamp: datetime
    ended_at: datetime
    line: int
    offset: int
    session_id: str | None = None
    sequence: int | None = None
    """Order within the session, from 1."""
    command: str = ""
    """As typed; for slash commands ``/name arguments``, for bash mode the shell command."""
    command_name: str | None = None
    """``/name`` of a slash command, ``!bash`` in bash mode, None for free text."""
    status: Status = "pending"
    status_reason: str = ""
    error_message: str | None = None
    workspace: dict[str, Any] = {}
    """cwd, git_branch."""
    session: dict[str, Any] = {}
    """version, entrypoint, permission_mode."""
    output: dict[str, Any] = {}
    """Shape of the answer: text_characters, thinking_blocks, stop_reason …; never its text."""
    duration_ms: int | None = None
    """The client's own figure, where timestamps are missing (headless runs)."""
    reported_usage: list[ReportedUsage] | None = None


class ModelRequest(msgspec.Struct, gc=False, omit_defaults=True):
    """One API response: its lines folded, the one with the largest output kept."""

    message_id: str
    model: str
    offset: int
    request_id: str | None = None
    timestamp: datetime | None = None
    """None where the format has no clocks; ingest takes the execution's."""
    session_id: str | None = None
    execution_id: str | None = None
    """None for work of subagents in files of their own; ingest finds the execution."""
    prompt_id: str | None = None
    agent_id: str | None = None
    is_synthetic: bool = False
    """Made by the client (``<synthetic>``): no tokens, not a model."""
    service_tier: str | None = None
    speed: str | None = None
    stop_reason: str | None = None
    input_tokens: int = 0
    """Uncached prompt tokens only."""
    cache_creation_5m_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    web_search_requests: int = 0
    reported_cost_usd: float | None = None
    is_output_reliable: bool = True
    line_count: int = 1


class ToolCall(msgspec.Struct, gc=False, omit_defaults=True):
    """One tool use, paired with its result."""

    tool_use_id: str
    tool_name: str
    offset: int
    timestamp: datetime | None = None
    session_id: str | None = None
    execution_id: str | None = None
    prompt_id: str | None = None
    message_id: str | None = None
    agent_id: str | None = None
    spawned_agent_id: str | None = None
    duration_ms: int | None = None
    status: ToolStatus = "unanswered"
    error_message: str | None = None


class BadLine(msgspec.Struct, frozen=True, gc=False):
    """A line that could not be understood."""

    line: int
    offset: int
    length: int
    reason: str
    detail: str
    sample: bytes
    """First 256 bytes, unredacted."""


class Chunk(msgspec.Struct):
    """Everything between two checkpoints of one file.

    ``offset`` and ``lines`` say from where to go on: the start of the execution that is still open, whose state
    so far is among the records. Reading on from there, with ``state``, gives that execution again with what was
    added since, so records are merged and never appended.
    """

    offset: int
    lines: int
    state: dict[str, Any]
    executions: list[Execution] = []
    requests: list[ModelRequest] = []
    tool_calls: list[ToolCall] = []
    bad: list[BadLine] = []
    unknown: Counter[str] = msgspec.field(default_factory=Counter)
    """Lines of unknown type, by type, all of them before ``offset``."""
    open_unknown: Counter[str] = msgspec.field(default_factory=Counter)
    """Those after ``offset``; whoever reads on from there counts them again."""
    good_lines: int = 0
    """Lines understood in this chunk, those after ``offset`` included."""
    blank_lines: int = 0
    cwd: str | None = None
    """Working directory in which the session was started."""
