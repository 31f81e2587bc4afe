"""tau-bench and tau2: runs with the tasks, conversations and rewards that their files hold."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.sources.outputs import Unreadable
from tests.documents import MODIFIED, changed, format_of, found, read

RUN_NAME = "tool-calling-gpt-4o-0.5_range_0--1_user-gpt-4o-mini-react_0113213421"
CALL = {"id": "c1", "type": "function", "function": {"name": "get_order_details", "arguments": '{"order_id": "#W1"}'}}
TALK = [
    {"role": "system", "content": "Be polite."},
    {"role": "user", "content": "Where is my order?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "name": "get_order_details", "content": "Error: order not found"},
    {"role": "assistant", "content": "I cannot find it."},
]
RESULT = {
    "task_id": 3,
    "reward": 0.0,
    "info": {
        "task": {"user_id": "u", "instruction": "You want your parcel.", "outputs": [],
                 "actions": [{"name": "get_order_details", "kwargs": {}}, {"name": "get_order_details", "kwargs": {}}]},
        "user_cost": 0.002,
        "reward_info": {"reward": 0.0, "info": {"r_actions": 0.0, "gt_data_hash": "x"}},
    },
    "traj": TALK,
    "trial": 1,
}  # fmt: skip
MESSAGES = [
    {"role": "user", "content": "My phone is slow.", "timestamp": "2026-03-01T10:00:01", "cost": 0.1,
     "usage": {"prompt_tokens": 999, "completion_tokens": 99}},
    {"role": "assistant", "content": None, "timestamp": "2026-03-01T10:00:02",
     "tool_calls": [{"id": "t1", "name": "get_line", "arguments": {"id": "L1"}, "requestor": "assistant"},
                    {"id": "t2", "name": "get_plan", "arguments": {}, "requestor": "assistant"}],
     "usage": {"prompt_tokens": 700, "completion_tokens": 40}},
    {"role": "tool", "tool_messages": [
        {"id": "t1", "role": "tool", "content": "no such line", "error": True, "requestor": "assistant"},
        {"id": "t2", "role": "tool", "content": "{}", "error": False, "requestor": "assistant"}]},
    {"role": "user", "content": None, "tool_calls": [
        {"id": "u1", "name": "toggle_data", "arguments": {}, "requestor": "user"}]},
    {"id": "u1", "role": "tool", "content": "on", "requestor": "user"},
    {"role": "assistant", "content": "Better now?", "usage": {"prompt_tokens": 800, "completion_tokens": 60}},
]  # fmt: skip
SIMULATION = {
    "id": "s1", "task_id": "7", "start_time": "2026-03-01T10:00:00.5", "end_time": "2026-03-01T10:01:00.5",
    "duration": 60.25, "termination_reason": "user_stop", "agent_cost": 0.25, "user_cost": 0.05, "trial": 1,
    "seed": 5, "reward_info": {"reward": 1.0, "reward_breakdown": {"DB": 1.0}}, "messages": MESSAGES,
}  # fmt: skip
TASK = {
    "id": "7",
    "user_scenario": {"instructions": {"domain": "telecom", "reason_for_call": "Slow data.", "known_info": None}},
    "evaluation_criteria": {"actions": [
        {"name": "get_line", "requestor": "assistant"}, {"name": "toggle_data", "requestor": "user"}]},
}  # fmt: skip
RESULTS = {
    "timestamp": "2026-03-01T09:59:00",
    "info": {
        "git_commit": "abc", "num_trials": 1, "max_steps": 200, "seed": 300,
        "user_info": {"implementation": "user_simulator", "llm": "gpt-4.1"},
        "agent_info": {"implementation": "llm_agent", "llm": "o4-mini", "llm_args": {"temperature": 0.0}},
        "environment_info": {"domain_name": "telecom", "policy": "Help.", "tool_defs": None},
    },
    "tasks": [TASK],
    "simulations": [SIMULATION],
}  # fmt: skip


def written(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=2))
    return path


def test_a_result_becomes_an_outcome_with_its_tools_and_reward(tmp_path):
    run = read(written(tmp_path, "gpt-4o-retail.json", [RESULT, changed(RESULT, trial=0, reward=1.0)]), "tau_bench")
    first, second = run.outcomes
    assert (first.scenario_id, first.epoch, first.score_raw, first.is_passed) == ("tau-bench-retail:3", 2, 0.0, False)
    assert (second.epoch, second.is_passed, second.execution_time) == (1, True, MODIFIED)
    assert [(tool.tool_name, tool.status, tool.error_message) for tool in first.tools] == [
        ("get_order_details", "error", "Error: order not found")
    ]
    assert first.metrics == {"r_actions": 0.0, "user_cost_usd": 0.002}
    assert [step["role"] for step in first.trajectory["steps"]] == ["user", "assistant", "tool", "assistant"]
    (simulation,) = run.simulations
    assert simulation.config == {"model": "gpt-4o", "domain": "retail", "policy": "Be polite."}
    assert (simulation.config_name, simulation.overall_score_raw) == ("tau-bench retail gpt-4o", 0.5)
    scenario = run.scenarios["tau-bench-retail:3"]
    assert (scenario.task_prompt, scenario.expected_tools) == ("You want your parcel.", ["get_order_details"])


def test_the_name_that_tau_bench_gives_a_file_tells_the_settings(tmp_path):
    (simulation,) = read(written(tmp_path, f"{RUN_NAME}.json", [RESULT]), "tau_bench").simulations
    assert simulation.config == {
        "strategy": "tool-calling", "model": "gpt-4o", "temperature": 0.5, "user_model": "gpt-4o-mini",
        "user_strategy": "react", "domain": "retail", "policy": "Be polite.",
    }  # fmt: skip


def test_a_run_keeps_its_key_under_another_name_and_layout_and_while_it_grows(tmp_path):
    original = read(written(tmp_path, "gpt-4o-retail.json", [RESULT]), "tau_bench")
    copy = read(written(tmp_path, "copy-retail.json", json.dumps([RESULT])), "tau_bench")
    other = read(written(tmp_path, "other-retail.json", [changed(RESULT, traj=TALK[:3])]), "tau_bench")
    assert original.simulations[0].key == copy.simulations[0].key != other.simulations[0].key
    results = [RESULT, changed(RESULT, task_id=4, traj=TALK[:2])]
    keys = {
        read(written(tmp_path, f"{RUN_NAME}.json", results[cut:]), "tau_bench").simulations[0].key for cut in (0, 1)
    }
    assert keys == {RUN_NAME}


def test_a_conversation_that_raised_is_an_error_with_its_message(tmp_path):
    crashed = changed(RESULT, traj=[], info={"error": "RateLimitError: slow down", "traceback": "…"}, trial=0)
    run = read(written(tmp_path, "gpt-4o-retail.json", [crashed, RESULT]), "tau_bench")
    outcome = run.outcomes[0]
    assert (outcome.status, outcome.step_count) == ("error", 0)
    assert [failure.message for failure in outcome.failures] == ["RateLimitError: slow down"]
    assert run.scenarios["tau-bench-retail:3"].task_prompt == "You want your parcel."


def test_a_result_that_cannot_be_read_or_is_there_twice_costs_the_others_nothing(tmp_path):
    results = [RESULT, changed(RESULT, task_id={}), RESULT, changed(RESULT, trial=2)]
    path = written(tmp_path, "gpt-4o-retail.json", results)
    run = read(path, "tau_bench")
    assert [outcome.epoch for outcome in run.outcomes] == [2, 3]
    assert sorted(bad.reason for bad in run.bad) == ["duplicate_result", "unexpected_shape"]
    broken = next(bad for bad in run.bad if bad.reason == "unexpected_shape")
    assert broken.detail.startswith("Result 2 cannot be read")
    lines = path.read_bytes().split(b"\n")
    assert lines[broken.line - 1].strip() == b"{"
    assert path.read_bytes()[broken.offset :].startswith(b'{\n    "task_id": {}')


def test_a_list_cut_in_the_middle_is_refused_with_a_sentence(tmp_path):
    path = written(tmp_path, "gpt-4o-retail.json", json.dumps([RESULT, RESULT])[:-50])
    with pytest.raises(Unreadable, match="ends in the middle"):
        read(path, "tau_bench")


def test_a_tau2_simulation_becomes_an_outcome_with_the_agents_tokens_cost_and_tools(tmp_path):
    run = read(written(tmp_path, "run.json", RESULTS), "tau2")
    (outcome,) = run.outcomes
    assert (outcome.scenario_id, outcome.epoch, outcome.score_raw, outcome.is_passed) == (
        "tau2-telecom:7",
        2,
        1.0,
        True,
    )
    assert outcome.execution_time == datetime(2026, 3, 1, 10, 1, 0, 500_000, UTC)
    assert (outcome.execution_time_ms, outcome.cost_usd) == (60_250, 0.25)
    assert (outcome.tokens_used, outcome.output_tokens, outcome.input_tokens) == (1600, 100, None)
    assert outcome.metrics == {"DB": 1.0, "user_cost_usd": 0.05}
    assert [(tool.tool_name, tool.status, tool.error_message) for tool in outcome.tools] == [
        ("get_line", "error", "no such line"),
        ("get_plan", "ok", None),
    ]
    assert outcome.step_count == 7
    scenario = run.scenarios["tau2-telecom:7"]
    assert (scenario.task_prompt, scenario.expected_tools) == (
        "Domain: telecom\nReason for call: Slow data.",
        ["get_line"],
    )
    (simulation,) = run.simulations
    assert (simulation.status, simulation.config_name) == ("completed", "tau2 telecom o4-mini")
    assert simulation.config["agent_info"]["llm_args"] == {"temperature": 0.0}
    assert "seed" not in simulation.config
    assert simulation.metadata["seed"] == 300


def test_a_folder_with_a_file_for_each_simulation_is_the_same_run(tmp_path):
    whole = read(written(tmp_path, "one/run.json", RESULTS), "tau2")
    folder = tmp_path / "many"
    results = written(folder, "results.json", changed(RESULTS, simulations=None))
    one = written(folder, "simulations/s1.json", SIMULATION)
    for path in (results, one):
        again = read(path, "tau2")
        assert again.simulations[0].key == whole.simulations[0].key
        assert again.outcomes[0].trajectory == whole.outcomes[0].trajectory
    written(folder, "simulations/s2.json", "{")
    damaged = found(folder, "tau2")
    assert len(damaged.outcomes) == 1
    assert "simulations/s2.json" in damaged.bad[0].detail


def test_one_conversation_without_its_run_is_refused_with_a_sentence(tmp_path):
    path = written(tmp_path, "simulations/s1.json", SIMULATION)
    with pytest.raises(Unreadable, match=r"results\.json is missing"):
        read(path, "tau2")


@pytest.mark.parametrize(
    ("reason", "status", "category"),
    [("max_steps", "timeout", "timeout"), ("too_many_errors", "error", "tool_error"), ("novelty", "error", None)],
)
def test_a_conversation_that_was_cut_short_is_no_success(tmp_path, reason, status, category):
    simulation = changed(SIMULATION, termination_reason=reason, reward_info=None)
    run = read(written(tmp_path, "run.json", changed(RESULTS, simulations=[simulation])), "tau2")
    (outcome,) = run.outcomes
    assert (outcome.status, outcome.score_raw, outcome.is_passed, outcome.error_code) == (status, None, None, reason)
    assert [(failure.failure_type, failure.category) for failure in outcome.failures] == [(reason, category)]


def test_a_run_that_lacks_conversations_is_still_running(tmp_path):
    info = changed(RESULTS["info"], num_trials=4)
    (simulation,) = read(written(tmp_path, "run.json", changed(RESULTS, info=info)), "tau2").simulations
    assert (simulation.status, simulation.completed_at, simulation.overall_score_raw) == ("running", None, None)


def test_clocks_that_go_back_in_autumn_cost_no_run(tmp_path):
    simulation = changed(SIMULATION, start_time="2026-10-25T02:50:00", end_time="2026-10-25T02:10:00")
    results = changed(RESULTS, timestamp="2026-10-25T02:49:00", simulations=[simulation])
    (found,) = read(written(tmp_path, "run.json", results), "tau2").simulations
    assert (found.status, found.started_at, found.completed_at) == (
        "completed",
        datetime(2026, 10, 25, 2, 49, tzinfo=UTC),
        None,
    )


def test_an_unknown_price_is_not_free(tmp_path):
    simulation = changed(SIMULATION, agent_cost=0.0)
    run = read(written(tmp_path, "run.json", changed(RESULTS, simulations=[simulation])), "tau2")
    assert run.outcomes[0].cost_usd is None


def test_a_conversation_by_voice_is_put_together_from_its_ticks(tmp_path):
    def tick(number: int, **acts: Any) -> dict[str, Any]:
        return {"tick_id": number, "timestamp": f"2026-03-01T10:00:0{number}", **acts}

    ticks = [
        tick(0, user_chunk={"role": "user", "content": "My "}, agent_chunk={"role": "assistant", "content": None}),
        tick(1, user_chunk={"role": "user", "content": "phone!"}),
        tick(2, agent_chunk={"role": "assistant", "content": "Yes?"}),
        tick(3, agent_tool_calls=[{"id": "t1", "name": "get_line", "arguments": {}}]),
        tick(4, agent_tool_results=[{"id": "t1", "role": "tool", "content": "{}", "error": False}]),
    ]
    usage = {"records": [{"input_tokens": 500, "input_cached_tokens": 200, "output_tokens": 30}], "cost": 0.5}
    simulation = changed(SIMULATION, messages=None, ticks=ticks, agent_cost=None, agent_usage=usage)
    (outcome,) = read(written(tmp_path, "run.json", changed(RESULTS, simulations=[simulation])), "tau2").outcomes
    said = [(step["role"], step["text"]) for step in outcome.trajectory["steps"] if step["text"]]
    assert said == [("user", "My phone!"), ("assistant", "Yes?"), ("tool", "{}")]
    assert [(tool.tool_name, tool.status) for tool in outcome.tools] == [("get_line", "ok")]
    assert (outcome.input_tokens, outcome.cache_read_tokens, outcome.output_tokens) == (300, 200, 30)
    assert (outcome.tokens_used, outcome.cost_usd) == (530, 0.5)


def test_long_conversations_are_kept_in_bounds(tmp_path):
    talk = [{"role": "user", "content": "four " * 2000}] * 700
    (outcome,) = read(written(tmp_path, "gpt-4o-retail.json", [changed(RESULT, traj=talk)]), "tau_bench").outcomes
    assert (len(outcome.trajectory["steps"]), outcome.trajectory["steps_left_out"], outcome.step_count) == (
        500,
        200,
        700,
    )
    assert outcome.trajectory["steps"][0]["text"].endswith("(6001 more characters)")


def test_the_corpus_run_has_200_conversations_of_which_84_succeed(corpus):
    path = corpus / "tau_bench" / "gpt-4o-airline.json"
    truth = json.loads(path.read_bytes())
    run = read(path, "tau_bench")
    assert not run.bad
    assert (len(run.outcomes), sum(outcome.is_passed for outcome in run.outcomes)) == (200, 84)
    stored = {(outcome.scenario_id, outcome.epoch): outcome for outcome in run.outcomes}
    for result in truth:
        outcome = stored[f"tau-bench-airline:{result['task_id']}", result["trial"] + 1]
        answers = [message for message in result["traj"] if message["role"] == "tool"]
        assert outcome.score_raw == result["reward"]
        assert [tool.tool_name for tool in outcome.tools] == [message["name"] for message in answers]
        assert sum(tool.status == "error" for tool in outcome.tools) == sum(
            message["content"].startswith("Error") for message in answers
        )
    assert {scenario.task_prompt for scenario in run.scenarios.values()} == {
        result["info"]["task"]["instruction"] for result in truth
    }
    (simulation,) = run.simulations
    assert (simulation.config["model"], simulation.overall_score_raw) == ("gpt-4o", 84 / 200)


def test_no_other_file_of_the_corpus_is_claimed(corpus):
    ours = {"tau_bench", "arc_eval", "tau2", "evaluation_jsonl"}
    claimed = {
        path.relative_to(corpus).parts[0] for path in corpus.rglob("*") if path.is_file() and format_of(path) in ours
    }
    assert claimed == {"tau_bench", "arc_eval"}
