"""Line types of ``claude -p --output-format stream-json`` (and ``json``): only the fields that feed something."""

from datetime import datetime
from typing import Any

import msgspec

from pipelines.sources.responses import Count, Message, Usage, Usd

PASSED_OVER = frozenset(
    {"stream_event", "rate_limit_event", "tool_progress", "tool_use_summary", "auth_status", "prompt_suggestion",
     "control_request", "control_response", "control_cancel_request", "keep_alive", "streamlined_text",
     "streamlined_tool_use_summary"}
)  # fmt: skip
_SHAPED = frozenset({"user", "assistant", "system", "result"})


class ModelUsage(msgspec.Struct, gc=False, rename="camel"):
    """What a run used of one model, background calls included."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_creation_input_tokens: Count = 0
    web_search_requests: Count | None = None
    cost_usd: Usd | None = msgspec.field(default=None, name="costUSD")


class Denial(msgspec.Struct, gc=False):
    """A tool use that was not permitted."""

    tool_name: str | None = None
    tool_use_id: str | None = None


class Line(msgspec.Struct, gc=False):
    """One line of the stream; ``result`` is the last of a run and sums it up."""

    type: str | None = None
    subtype: str | None = None
    session_id: str | None = None
    uuid: str | None = None
    timestamp: datetime | None = None
    parent_tool_use_id: str | None = None
    message: Message | None = None
    request_id: str | None = None
    request_id_of_api: str | None = msgspec.field(default=None, name="requestId")
    error: Any = None
    is_api_error_message: bool | None = msgspec.field(default=None, name="isApiErrorMessage")
    tool_use_result: msgspec.Raw = msgspec.Raw()
    # system, subtype init
    cwd: str | None = None
    model: str | None = None
    permission_mode: str | None = msgspec.field(default=None, name="permissionMode")
    claude_code_version: str | None = None
    # system, subtypes task_*
    task_id: str | None = None
    tool_use_id: str | None = None
    # result
    is_error: bool | None = None
    result: Any = None
    errors: Any = None
    stop_reason: str | None = None
    duration_ms: float | None = None
    total_cost_usd: Usd | None = None
    cost_usd: Usd | None = None
    """Older name of ``total_cost_usd``."""
    usage: Usage | None = None
    model_usage: dict[str, ModelUsage] | None = msgspec.field(default=None, name="modelUsage")
    permission_denials: list[Denial] | None = None

    @property
    def total_cost(self) -> float | None:
        """Cost of the run in USD as the client gives it."""
        return self.total_cost_usd if self.total_cost_usd is not None else self.cost_usd


class ToolResult(msgspec.Struct, gc=False, rename="camel"):
    """``tool_use_result``: what the client knows of a tool's run."""

    duration_ms: float | None = None
    total_duration_ms: float | None = None
    agent_id: str | None = None


class _Kind(msgspec.Struct, gc=False):
    type: Any = None


decode = msgspec.json.Decoder(Line).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_tool_result = msgspec.json.Decoder(ToolResult).decode
_NO_TOOL_RESULT = ToolResult()


def decode_leniently(line: bytes) -> Line:
    """The line; one of a type that is passed over may hold its fields in any shape."""
    try:
        return decode(line)
    except msgspec.ValidationError:
        kind = _decode_kind(line).type
        if not isinstance(kind, str) or kind in _SHAPED:
            raise
        return Line(type=kind)


def tool_result(raw: msgspec.Raw) -> ToolResult:
    """The client's own record of a tool's run, empty where it is none."""
    view = memoryview(raw)
    if not view or view[0] != 0x7B:
        return _NO_TOOL_RESULT
    try:
        return _decode_tool_result(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _NO_TOOL_RESULT
