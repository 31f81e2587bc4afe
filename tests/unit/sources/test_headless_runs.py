"""What the output of ``claude -p`` says of a run: its time, its end, its usage, its tools."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from source_files import FILE_TIME, Records, chunks_of, only, read, text, tool

INIT = {
    "type": "system", "subtype": "init", "session_id": "s1", "uuid": "u0", "cwd": "/work/shop", "model": "glm-5.1[1m]",
    "permissionMode": "default", "claude_code_version": "2.1.143",
}  # fmt: skip
RESULT = {
    "type": "result", "subtype": "success", "is_error": False, "session_id": "s1", "uuid": "u9", "duration_ms": 90_000,
    "result": "Done.", "stop_reason": "end_turn", "total_cost_usd": 0.5, "permission_denials": [],
    "modelUsage": {
        "glm-5.1[1m]": {"inputTokens": 10, "outputTokens": 20, "cacheReadInputTokens": 30,
                        "cacheCreationInputTokens": 40, "webSearchRequests": 1, "costUSD": 0.4},
        "haiku": {"inputTokens": 1, "outputTokens": 2, "costUSD": 0.1},
    },
}  # fmt: skip


def answer(*blocks: dict[str, Any], id: str = "m1", **fields: Any) -> dict[str, Any]:
    message = {
        "id": id, "role": "assistant", "model": "glm-5.1", "content": list(blocks), "stop_reason": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }  # fmt: skip
    return {"type": "assistant", "message": message, "session_id": "s1", "uuid": f"u-{id}", "request_id": "r1"} | fields


def tool_result(tool_use_id: str, second: int, content: str = "ok", **fields: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": tool_use_id, "content": content, "is_error": content != "ok"}
    moment = datetime(2026, 3, 2, 9, 0, second, tzinfo=UTC).isoformat()
    return {"type": "user", "message": {"content": [block]}, "session_id": "s1", "timestamp": moment} | fields


def run(*lines: dict[str, Any]) -> Records:
    return read("".join(json.dumps(line) + "\n" for line in lines).encode(), "stream_json")


def test_a_run_is_one_execution_with_the_usage_of_its_result():
    records = run(
        INIT, answer(text("Let me see."), tool("t1")), tool_result("t1", 30), answer(text("Done."), id="m2"), RESULT
    )
    execution = only(records)
    assert (execution.kind, execution.command, execution.session_id) == ("run", "", "s1")
    assert (execution.status, execution.status_reason, execution.duration_ms) == ("completed", "answered", 90_000)
    assert execution.workspace == {"cwd": "/work/shop"}
    assert execution.session == {"version": "2.1.143", "permission_mode": "default"}
    main, background = execution.reported_usage
    assert (main.model, main.input_tokens, main.output_tokens) == ("glm-5.1", 10, 20)
    assert (main.cache_read_tokens, main.cache_creation_tokens, main.web_search_requests, main.cost_usd) == (
        30,
        40,
        1,
        0.4,
    )
    assert (background.model, background.cost_usd) == ("haiku", 0.1)
    assert [(r.execution_id, r.request_id, r.timestamp, r.is_output_reliable) for r in records.requests.values()] == [
        (execution.id, "r1", None, False),
        (execution.id, "r1", None, False),
    ]
    assert records.tools["t1"].status == "ok"


def test_the_start_is_reckoned_back_from_the_clocks_there_are():
    with_clocks = only(run(INIT, answer(tool("t1")), tool_result("t1", 30), RESULT))
    assert with_clocks.timestamp == datetime(2026, 3, 2, 8, 59, 0, tzinfo=UTC)
    assert with_clocks.ended_at == datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)
    without_clocks = only(run(INIT, answer(text("Done.")), RESULT))
    assert without_clocks.timestamp == FILE_TIME - timedelta(seconds=90)
    without_result = only(run(INIT, answer(tool("t1")), tool_result("t1", 30), tool_result("t1", 40)))
    assert without_result.timestamp == datetime(2026, 3, 2, 9, 0, 30, tzinfo=UTC)
    assert without_result.ended_at - without_result.timestamp == timedelta(seconds=10)
    assert without_result.duration_ms is None


@pytest.mark.parametrize(
    ("lines", "status", "reason", "error"),
    [
        ([RESULT], "completed", "answered", None),
        ([RESULT | {"is_error": True, "result": "API Error: 400"}], "failed", "api_error", "API Error: 400"),
        ([RESULT | {"subtype": "error_max_turns", "result": None}], "failed", "error_max_turns", None),
        (
            [RESULT | {"subtype": "error_during_execution", "result": None, "errors": ["a", "b"]}],
            "failed", "error_during_execution", "a\nb",
        ),
        ([answer(text("Working"))], "pending", "no_result", None),
        ([], "pending", "no_result", None),
        ([answer(text("API Error: 529"), error="overloaded")], "failed", "api_error", "API Error: 529"),
        ([answer(text("Overloaded"), error="overloaded"), answer(text("So."), id="m2")], "pending", "no_result", None),
    ],
)  # fmt: skip
def test_the_result_decides_the_status(lines, status, reason, error):
    execution = only(run(INIT, *lines))
    assert (execution.status, execution.status_reason, execution.error_message) == (status, reason, error)
    assert (execution.reported_usage is None) == (
        status == "pending" or not any("modelUsage" in line for line in lines)
    )


def test_a_denied_tool_is_rejected_whatever_its_result_says():
    denied = RESULT | {
        "permission_denials": [{"tool_name": "Bash", "tool_use_id": "t1"}, {"tool_name": "Edit", "tool_use_id": "t2"}]
    }
    records = run(
        INIT, answer(tool("t1"), tool("t3")), tool_result("t1", 1, "blocked"), tool_result("t3", 2, "boom"), denied
    )
    assert {call.tool_use_id: call.status for call in records.tools.values()} == {
        "t1": "rejected", "t2": "rejected", "t3": "error",
    }  # fmt: skip
    assert records.tools["t3"].error_message == "boom"


def test_a_subagents_lines_belong_to_the_run_and_name_what_started_it():
    finished = tool_result("t1", 9, tool_use_result={"agentId": "a7", "totalDurationMs": 147})
    records = run(
        INIT,
        answer(tool("t1", "Agent")),
        answer(text("Looking."), tool("t2"), id="m2", parent_tool_use_id="t1", error="x"),
        finished,
        RESULT,
    )
    execution = only(records)
    agent = records.requests["m2", "r1"]
    assert (agent.agent_id, agent.execution_id) == ("t1", execution.id)
    assert (records.tools["t1"].spawned_agent_id, records.tools["t1"].duration_ms) == ("a7", 147)
    assert records.tools["t2"].agent_id == "t1"
    assert (execution.output["tool_use_blocks"], execution.status) == (1, "completed")


@pytest.mark.parametrize(
    ("change", "costs"),
    [
        ({"total_cost_usd": 1.0}, [0.8, 0.2]),
        ({"total_cost_usd": None}, [0.4, 0.1]),
        ({"total_cost_usd": None, "cost_usd": 1.0}, [0.8, 0.2]),
        ({"modelUsage": {"a": {"inputTokens": 30}, "b": {"inputTokens": 10}}, "total_cost_usd": 2.0}, [1.5, 0.5]),
        ({"modelUsage": {"a": {}, "b": {}}, "total_cost_usd": 2.0}, [1.0, 1.0]),
        ({"modelUsage": {"a": {"inputTokens": 1}}, "total_cost_usd": None}, [None]),
        ({"modelUsage": {"a[1m]": {"costUSD": 0.25}, "a": {"costUSD": 0.25}}}, [0.5]),
        ({"modelUsage": {}}, []),
    ],
)
def test_costs_by_model_add_up_to_the_total(change, costs):
    usages = only(run(INIT, RESULT | change)).reported_usage
    assert [usage.cost_usd for usage in usages] == (pytest.approx(costs) if None not in costs else costs)


def test_an_older_result_without_usage_by_model_is_put_down_to_the_main_model():
    older = {key: value for key, value in RESULT.items() if key not in ("modelUsage", "total_cost_usd")}
    usage = {"input_tokens": 4, "output_tokens": 5, "cache_creation_input_tokens": 6, "cache_read_input_tokens": 7}
    [reported] = only(run(INIT, older | {"cost_usd": 0.25, "usage": usage})).reported_usage
    assert (reported.model, reported.input_tokens, reported.output_tokens) == ("glm-5.1", 4, 5)
    assert (reported.cache_creation_tokens, reported.cache_read_tokens, reported.cost_usd) == (6, 7, 0.25)


def test_runs_that_follow_each_other_in_one_file_are_told_apart():
    second = [
        line | {"uuid": f"second-{number}"} for number, line in enumerate((INIT, answer(text("b"), id="m2"), RESULT))
    ]
    records = run(INIT, answer(text("a")), RESULT, {"type": "system", "subtype": "notification"}, *second)
    first, then = records.listed
    assert (first.sequence, first.line, then.sequence, then.line) == (1, 1, 2, 5)
    assert {r.execution_id for r in records.requests.values()} == {first.id, then.id}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("is_array", [False, True])
def test_a_single_document_is_read_in_any_layout(indent, is_array):
    lines = [INIT, answer(tool("t1")), tool_result("t1", 30), RESULT]
    document = json.dumps(lines if is_array else RESULT, indent=indent).encode()
    [chunk] = chunks_of(document, "stream_json")
    [execution] = chunk.executions
    assert (execution.status, execution.duration_ms, len(execution.reported_usage)) == ("completed", 90_000, 2)
    assert len(chunk.requests) == int(is_array)
    assert chunk.good_lines == document.count(b"\n") + 1
    assert chunk.offset == 0


def test_a_document_cut_in_the_middle_is_bad_and_says_so():
    [chunk] = chunks_of(json.dumps(RESULT, indent=2).encode()[:-20], "stream_json")
    [bad] = chunk.bad
    assert (bad.reason, chunk.executions, chunk.good_lines) == ("malformed_json", [], 0)
