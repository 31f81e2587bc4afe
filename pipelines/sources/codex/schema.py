"""Line types of Codex rollouts: ``{timestamp, type, payload}``, only the fields that feed something.

A line is decoded in two steps: its frame, then the payload of the kinds that matter, by the payload's own ``type``.
"""

from datetime import datetime
from typing import Any

import msgspec

from pipelines.sources.lines import UnusableLine, in_utc
from pipelines.sources.responses import Count

# Lines of these types are understood and hold nothing to keep.
PASSED_OVER = frozenset({"world_state", "token_usage_record", "ghost_snapshot", "state"})
EVENTS_PASSED_OVER = frozenset(
    {
        "agent_message", "agent_message_delta", "agent_message_content_delta", "agent_reasoning",
        "agent_reasoning_delta", "agent_reasoning_raw_content", "agent_reasoning_raw_content_delta",
        "agent_reasoning_section_break", "apply_patch_approval_request", "background_event",
        "context_compacted", "deprecation_notice",
        "elicitation_request", "exec_approval_request", "exec_command_begin", "exec_command_output_delta",
        "exited_review_mode", "guardian_assessment", "hook_completed", "hook_started", "image_generation_begin",
        "image_generation_end", "item_completed", "item_started", "mcp_startup_complete", "mcp_startup_update",
        "mcp_tool_call_begin", "model_reroute", "patch_apply_begin", "patch_apply_updated", "plan_delta",
        "plan_update", "raw_response_item", "reasoning_content_delta", "reasoning_raw_content_delta",
        "request_permissions", "request_user_input", "session_configured", "shutdown_complete",
        "skills_update_available",
        "stream_error", "terminal_interaction", "thread_goal_updated", "thread_name_updated", "thread_rolled_back",
        "turn_diff", "undo_completed", "undo_started", "view_image_tool_call", "warning", "web_search_begin",
        "web_search_end",
    }
)  # fmt: skip
ITEMS_PASSED_OVER = frozenset(
    {"compaction", "compaction_summary", "compaction_trigger", "context_compaction", "ghost_snapshot", "other"}
)


class Line(msgspec.Struct, gc=False):
    """The frame of a line."""

    type: str | None = None
    timestamp: datetime | None = None
    payload: msgspec.Raw = msgspec.Raw()


class Kind(msgspec.Struct, gc=False):
    """What a payload is."""

    type: str | None = None


class Git(msgspec.Struct, gc=False):
    """Repository in which the session was started."""

    branch: str | None = None
    commit_hash: str | None = None


class SessionMeta(msgspec.Struct, gc=False):
    """``session_meta``: first line of a file; a fork repeats those of the threads that it was forked from."""

    id: str | None = None
    session_id: str | None = None
    """Of a subagent in newer files: the thread of the conversation that it works for."""
    cwd: str | None = None
    originator: str | None = None
    cli_version: str | None = None
    source: Any = None
    """Entry point, or for subagents an object that names the parent thread."""
    git: Git | None = None
    forked_from_id: str | None = None
    parent_thread_id: str | None = None


class TurnContext(msgspec.Struct, gc=False):
    """``turn_context``: with what a turn works from here on."""

    turn_id: str | None = None
    cwd: str | None = None
    model: str | None = None
    effort: str | None = None
    approval_policy: Any = None
    service_tier: str | None = None

    @property
    def permission_mode(self) -> str | None:
        """Name of the approval policy; one with details is an object of which the only key is the name."""
        policy = next(iter(self.approval_policy), None) if isinstance(self.approval_policy, dict) else None
        return policy if policy is not None else self.approval_policy if isinstance(self.approval_policy, str) else None


class ThreadSettings(msgspec.Struct, gc=False):
    """What the event ``thread_settings_applied`` sets for the turns to come."""

    model: str | None = None
    service_tier: str | None = None


class TokenUsage(msgspec.Struct, gc=False):
    """Token counts as OpenAI gives them: input includes what was cached, output includes reasoning."""

    input_tokens: Count | None = None
    cached_input_tokens: Count | None = None
    cache_write_input_tokens: Count | None = None
    output_tokens: Count | None = None
    reasoning_output_tokens: Count | None = None


class TokenInfo(msgspec.Struct, gc=False):
    """Counters of the thread, and of its last response."""

    total_token_usage: TokenUsage | None = None
    last_token_usage: TokenUsage | None = None


class Duration(msgspec.Struct, gc=False):
    """A span of time as Rust writes it."""

    secs: Count = 0
    nanos: Count = 0

    @property
    def milliseconds(self) -> int:
        """Rounded."""
        return self.secs * 1000 + round(self.nanos / 1e6)


class Event(msgspec.Struct, gc=False):
    """Payload of ``event_msg``; which fields it has depends on its type."""

    turn_id: str | None = None
    message: str | None = None
    kind: str | None = None
    user_facing_hint: str | None = None
    reason: str | None = None
    info: TokenInfo | None = None
    thread_settings: ThreadSettings | None = None
    call_id: str | None = None
    new_thread_id: str | None = None
    exit_code: int | None = None
    status: str | None = None
    success: bool | None = None
    duration: msgspec.Raw = msgspec.Raw()
    stderr: str | None = None
    aggregated_output: str | None = None
    result: msgspec.Raw = msgspec.Raw()


class ResponseItem(msgspec.Struct, gc=False):
    """Payload of ``response_item``; which fields it has depends on its type."""

    role: str | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    content: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()


decode = msgspec.json.Decoder(Line).decode
kind_of = msgspec.json.Decoder(Kind).decode
session_meta = msgspec.json.Decoder(SessionMeta).decode
turn_context = msgspec.json.Decoder(TurnContext).decode
event = msgspec.json.Decoder(Event).decode
response_item = msgspec.json.Decoder(ResponseItem).decode


def moment_of(line: Line) -> datetime:
    """When the line was written, in UTC; raises UnusableLine without a usable timestamp."""
    if line.timestamp is None:
        raise UnusableLine("bad_timestamp", f"A {line.type} line needs a timestamp and has none.")
    return in_utc(line.timestamp)
