"""What a transcript says was used: requests folded from their lines, tool calls paired with their results."""

from datetime import timedelta

import pytest
from source_files import START, Transcript, only, read, text, tool


def test_lines_of_one_response_are_one_request_with_the_largest_output():
    def usage(output):
        return {
            "input_tokens": 4, "output_tokens": output,
            "cache_creation_input_tokens": 90, "cache_read_input_tokens": 700,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 70},
            "service_tier": "standard", "speed": "fast", "server_tool_use": {"web_search_requests": 2},
        }  # fmt: skip

    records = read(
        Transcript()
        .user("Go")
        .assistant({"type": "thinking", "thinking": "hm"}, usage=usage(1))
        .assistant(text("Right."), usage=usage(8))
        .assistant(tool("t1"), usage=usage(5), stop="tool_use")
        .assistant(text("Other request, same message."), request="req_2", usage=usage(2))
    )
    first, second = records.requests.values()
    assert (first.output_tokens, second.output_tokens, first.line_count) == (8, 2, 3)
    assert (first.input_tokens, first.cache_read_tokens) == (4, 700)
    assert (first.cache_creation_5m_tokens, first.cache_creation_1h_tokens) == (20, 70)
    assert (first.service_tier, first.speed, first.web_search_requests, first.stop_reason) == (
        "standard", "fast", 2, "tool_use",
    )  # fmt: skip
    assert first.timestamp == START + timedelta(seconds=1)
    assert only(records).output == {
        "thinking_blocks": 1, "text_blocks": 2, "text_characters": 34, "tool_use_blocks": 1, "stop_reason": "tool_use",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("split", "five", "hour"),
    [
        (None, 90, 0),
        ({}, 90, 0),
        ({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, 90, 0),
        ({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 90}, 0, 90),
        ({"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 70}, 20, 70),
    ],
)
def test_cache_writes_that_the_split_leaves_out_count_as_five_minutes(split, five, hour):
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 90, "cache_creation": split}
    [request] = read(Transcript().user("Go").assistant(usage=usage)).requests.values()
    assert (request.cache_creation_5m_tokens, request.cache_creation_1h_tokens) == (five, hour)


@pytest.mark.parametrize(("output", "stop", "reliable"), [(2, None, False), (2, "end_turn", True), (60, None, True)])
def test_an_output_far_below_what_was_written_is_not_trusted(output, stop, reliable):
    usage = {"input_tokens": 1, "output_tokens": output}
    [request] = read(Transcript().user("Go").assistant(text("word " * 50), usage=usage, stop=stop)).requests.values()
    assert request.is_output_reliable is reliable


def test_usage_in_progress_and_in_tool_results_is_never_counted():
    usage = {"input_tokens": 999, "output_tokens": 999}
    records = read(
        Transcript()
        .user("Go")
        .assistant(tool("t1", "Task"))
        .event("progress", parentToolUseID="t1", data={
            "type": "agent_progress", "agentId": "a1",
            "message": {"type": "assistant", "message": {"id": "copy", "usage": usage}},
        })
        .result("t1", toolUseResult={"agentId": "a1", "usage": usage, "totalTokens": 1998})
    )  # fmt: skip
    assert sum(request.output_tokens for request in records.requests.values()) == 10


def test_a_writer_that_leaves_out_the_type_is_read_by_the_messages_role():
    transcript = Transcript().assistant(type=None, costUSD=0.12)
    [request] = read(transcript).requests.values()
    assert request.reported_cost_usd == 0.12


@pytest.mark.parametrize(
    ("content", "is_error", "status"),
    [
        ("fine", None, "ok"),
        ("fine", False, "ok"),
        ("Exit code 1", True, "error"),
        ("The user doesn't want to proceed with this tool use.", True, "rejected"),
        ([text("Claude requested permissions to write to /etc, but you haven't granted it yet.")], True, "rejected"),
    ],
)
def test_a_tool_call_is_paired_with_its_result(content, is_error, status):
    records = read(
        Transcript()
        .user("Go")
        .assistant(tool("t1", "Write"))
        .event("progress")
        .result("t1", content, is_error=is_error)
    )
    call = records.tools["t1"]
    assert (call.tool_name, call.status, call.duration_ms, call.message_id) == ("Write", status, 2000, "msg_1")
    assert (call.error_message is None) == (status == "ok")
