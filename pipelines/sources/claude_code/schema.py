"""Line types of Claude Code transcripts: only the fields that feed something, the rest is skipped while decoding."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from pipelines.sources.lines import BOM, UnusableLine, in_utc
from pipelines.sources.responses import Message, Usd

# Lines of these types are understood and hold nothing to keep beyond what _SHAPED ones say.
PASSED_OVER = frozenset(
    {
        "progress", "attachment", "summary", "file-history-snapshot", "queue-operation", "permission-mode", "mode",
        "ai-title", "custom-title", "agent-name", "agent-color", "agent-setting", "last-prompt", "tag", "pr-link",
        "task-summary", "worktree-state", "content-replacement", "attribution-snapshot", "system",
    }
)  # fmt: skip
SILENT = PASSED_OVER - {"system"}
"""Types whose lines never begin, carry or end anything; the others are looked at one by one."""
_SHAPED = frozenset({"user", "assistant"})


class Line(msgspec.Struct, gc=False, rename="camel"):
    """One line of a transcript."""

    type: str | None = None
    timestamp: datetime | None = None
    session_id: str | None = None
    uuid: str | None = None
    prompt_id: str | None = None
    request_id: str | None = None
    agent_id: str | None = None
    is_sidechain: bool | None = None
    is_meta: bool | None = None
    is_compact_summary: bool | None = None
    is_visible_in_transcript_only: bool | None = None
    is_api_error_message: bool | None = None
    cost_usd: Usd | None = msgspec.field(default=None, name="costUSD")
    subtype: str | None = None
    parent_tool_use_id: str | None = msgspec.field(default=None, name="parentToolUseID")
    source_tool_assistant_uuid: str | None = msgspec.field(default=None, name="sourceToolAssistantUUID")
    message: Message | None = None
    content: msgspec.Raw = msgspec.Raw()
    tool_use_result: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


class Setting(msgspec.Struct, gc=False, rename="camel"):
    """Where and with what a line was written. Nearly every line says it, and few are asked."""

    cwd: str | None = None
    git_branch: str | None = None
    version: str | None = None
    entrypoint: str | None = None
    permission_mode: str | None = None


class AgentProgress(msgspec.Struct, gc=False, rename="camel"):
    """``data`` of a progress line, and what a tool's result says, about the subagent at work."""

    type: Any = None
    agent_id: str | None = None


class _Kind(msgspec.Struct, gc=False):
    type: Any = None


decode = msgspec.json.Decoder(Line).decode
_decode_setting = msgspec.json.Decoder(Setting).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_progress = msgspec.json.Decoder(AgentProgress).decode


def decode_leniently(line: bytes) -> Line:
    """The line; one of a type that is passed over may hold its fields in any shape."""
    try:
        return decode(line)
    except msgspec.ValidationError:
        kind = _decode_kind(line).type
        if not isinstance(kind, str) or kind in _SHAPED:
            raise
        return Line(type=kind)


def setting_of(line: bytes | memoryview) -> Setting:
    """What ``line``, which was decoded before, says of its setting; raises what msgspec raises."""
    return _decode_setting(bytes(line).removeprefix(BOM))


def agent_id_in(raw: msgspec.Raw) -> str | None:
    """``agentId`` of a tool result or progress, None where it is no object or names none."""
    view = memoryview(raw)
    if not view or view[0] != 0x7B:
        return None
    try:
        return _decode_progress(raw).agent_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def role_of(line: Line) -> str | None:
    """``user`` or ``assistant``; some writers leave out the type and keep the message's role."""
    if line.type is not None:
        return line.type
    return line.message.role if line.message is not None else None


def moment_of(line: Line) -> datetime:
    """When the line was written, in UTC; raises UnusableLine without a usable timestamp."""
    moment = line.timestamp
    if moment is None:
        raise UnusableLine("bad_timestamp", f"A {role_of(line)} line needs a timestamp and has none.")
    return moment if moment.tzinfo is UTC else in_utc(moment)
