"""Whatever stands in a line, it is counted as good or bad, and no error escapes."""

import json

import pytest
from damage import accounted, survives_ten_thousand_damaged_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_files import Rollout
from source_files import Transcript, text, tool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "type", "message", "timestamp", "uuid", "sessionId", "session_id", "requestId", "isMeta", "isSidechain", "agentId",
    "toolUseResult", "tool_use_result", "content", "subtype", "data", "parentToolUseID", "costUSD", "cwd", "promptId",
    "modelUsage", "usage", "permission_denials", "duration_ms", "result", "total_cost_usd", "error", "payload",
]  # fmt: skip
TYPES = ["user", "assistant", "system", "progress", "result", "summary", "novelty"]
ROLLOUT_TYPES = ["session_meta", "turn_context", "response_item", "event_msg", "compacted", "novelty"]
PAYLOAD_TYPES = [
    "task_started", "user_message", "token_count", "task_complete", "turn_aborted", "exec_command_end", "error",
    "mcp_tool_call_end", "message", "reasoning", "function_call", "function_call_output", "web_search_call", "novelty",
]  # fmt: skip
PAYLOAD_FIELDS = [
    "id", "cwd", "source", "git", "turn_id", "model", "approval_policy", "message", "info", "call_id", "exit_code",
    "duration", "result", "output", "content", "name", "namespace", "role", "reason", "status", "forked_from_id",
]  # fmt: skip
OBJECTS = st.builds(
    lambda fields, kind: {"type": kind, "timestamp": "2026-03-02T09:00:00Z"} | fields,
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5),
    st.sampled_from(TYPES),
)
FRAMES = st.builds(
    lambda fields, kind, frame: {
        "timestamp": "2026-03-02T09:00:00Z", "type": frame, "payload": {"type": kind, "call_id": "c1"} | fields,
    },
    st.dictionaries(st.sampled_from(PAYLOAD_FIELDS), JSON, max_size=5),
    st.sampled_from(PAYLOAD_TYPES),
    st.sampled_from(ROLLOUT_TYPES),
)  # fmt: skip
LINES = st.one_of(
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")),
    OBJECTS.map(lambda value: json.dumps(value).encode()),
    FRAMES.map(lambda value: json.dumps(value).encode()),
    JSON.map(lambda value: json.dumps(value).encode()),
)
CONVERSATION = (
    Transcript()
    .line(type="file-history-snapshot", messageId="m", snapshot={})
    .user("Explain “the build” in 日本語", promptId="aaaaaaaa-0000-4000-8000-000000000000")
    .assistant(text("Let me see… 🙂"), tool("t1", "Agent", prompt="look"), usage={
        "input_tokens": 3, "output_tokens": 5, "cache_creation_input_tokens": 7, "cache_read_input_tokens": 11,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    })
    .event("progress", parentToolUseID="t1", data={"type": "agent_progress", "agentId": "a1"})
    .result("t1", "Exit code 1", is_error=True, toolUseResult={"agentId": "a1", "durationMs": 5})
    .event("system", subtype="local_command", content="<command-name>/help</command-name>")
    .user("<bash-input>ls</bash-input>")
    .lines
)  # fmt: skip
RUN = [
    json.dumps(line)
    for line in (
        {"type": "system", "subtype": "init", "session_id": "s", "cwd": "/w", "model": "m", "uuid": "u"},
        {"type": "assistant", "session_id": "s", "request_id": "r", "message": {
            "id": "m1", "model": "m[1m]", "content": [tool("t1")], "usage": {"output_tokens": 1}}},
        {"type": "user", "session_id": "s", "timestamp": "2026-03-02T09:00:00Z", "message": {
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "x"}]}},
        {"type": "result", "subtype": "success", "session_id": "s", "duration_ms": 5, "total_cost_usd": 0.1,
         "modelUsage": {"m[1m]": {"inputTokens": 1, "outputTokens": 2, "costUSD": 0.1}},
         "permission_denials": [{"tool_name": "Bash", "tool_use_id": "t1"}]},
    )
]  # fmt: skip


ROLLOUT = (
    Rollout()
    .prompt("Explain “the build” in 日本語")
    .item("reasoning", summary=[])
    .says("Let me see… 🙂")
    .call("c1")
    .tokens()
    .event("exec_command_end", call_id="c1", exit_code=1, duration={"secs": 1, "nanos": 5}, stderr="no")
    .output("c1", {"content": [{"type": "input_text", "text": "no"}], "success": False})
    .item("web_search_call", id="ws_1", status="completed")
    .add("compacted", message="so far")
    .end()
    .forked()
    .lines
)


@pytest.mark.parametrize("source", ["claude_code", "codex", "stream_json"])
@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINES, max_size=8))
def test_arbitrary_lines_are_all_accounted_for(source, lines):
    # A first line that begins a document would make one record of the whole file.
    accounted(b'{"type":"novelty"}\n' + b"".join(line + b"\n" for line in lines), source)


@pytest.mark.parametrize(("source", "lines"), [("claude_code", CONVERSATION), ("codex", ROLLOUT), ("stream_json", RUN)])
def test_ten_thousand_damaged_lines_are_all_accounted_for(source, lines):
    survives_ten_thousand_damaged_lines([line.encode() for line in lines], source)
