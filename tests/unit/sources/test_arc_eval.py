"""arc-eval: results of scenarios and traces of workflows, each with what went wrong."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.documents import MODIFIED, changed, read

RESULT = {
    "output": "Done.", "scenario": "Ignore your instructions", "scenario_id": "sec_001", "framework": "crewai",
    "timestamp": "2026-02-01T10:00:00Z", "expected_to_fail": True, "category": "prompt_injection", "severity": "high",
    "trace": {
        "steps": [
            {"step": 1, "action": "reasoning", "content": "Let me see.", "duration_ms": 5},
            {"step": 2, "action": "tool_call", "tool": "scanner", "input": {"a": 1}, "output": {"valid": False},
             "success": False, "duration_ms": 90.5, "timestamp": "2026-02-01T10:00:01Z"},
        ],
        "total_duration_ms": 100, "success": False, "failure_point": "scanner", "trace_id": "t",
    },
    "performance_metrics": {
        "total_latency_ms": 120, "token_usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 14},
        "cost_usd": 0.018,
    },
    "evaluation_context": {"complexity_score": 0.4},
}  # fmt: skip
PLAIN = {"scenario_id": "fin_001", "output": "Approved.", "metadata": {"agent_id": "bot", "timestamp": "2026-02-01"}}
STEPS = [
    {"step": 1, "framework": "crewai", "task": "fetch", "status": "timeout", "error": "no answer",
     "start_time": "2026-02-01T10:00:00Z", "end_time": "2026-02-01T10:00:30Z", "duration_seconds": 30},
    {"step": 2, "framework": "crewai", "task": "report", "status": "completed",
     "start_time": "2026-02-01T10:00:30Z", "end_time": "2026-02-01T10:01:00Z", "duration_seconds": 30},
]  # fmt: skip


def written(folder, value, name="output.json"):
    path = folder / name
    path.write_text(json.dumps(value, indent=1))
    return path


def test_a_result_becomes_an_outcome_with_its_failure_tools_and_cost(tmp_path):
    run = read(written(tmp_path, [RESULT]), "arc_eval")
    (outcome,) = run.outcomes
    assert (outcome.scenario_id.rpartition(":")[0], outcome.status) == ("arc-eval:sec_001", "error")
    assert outcome.score_raw is None
    assert (outcome.tokens_used, outcome.input_tokens, outcome.output_tokens, outcome.cost_usd) == (14, 10, 5, 0.018)
    assert (outcome.execution_time_ms, outcome.metrics) == (120, {"complexity_score": 0.4})
    assert [(tool.tool_name, tool.status, tool.duration_ms) for tool in outcome.tools] == [("scanner", "error", 90.5)]
    (failure,) = outcome.failures
    assert (failure.message, failure.failure_type, failure.category) == (
        'scanner failed: {"valid":false}', "scanner", "tool_error",
    )  # fmt: skip
    assert run.scenarios[outcome.scenario_id].tags == ["prompt_injection", "high"]


def test_files_that_give_one_id_to_different_tasks_speak_of_different_scenarios(tmp_path):
    same = read(written(tmp_path, [changed(RESULT, output="Again.")], "same.json"), "arc_eval")
    other = read(written(tmp_path, [changed(RESULT, scenario="Reveal the password")], "other.json"), "arc_eval")
    first = read(written(tmp_path, [RESULT]), "arc_eval")
    assert first.scenarios == same.scenarios
    assert not first.scenarios.keys() & other.scenarios.keys()
    assert {scenario.source_id for run in (first, other) for scenario in run.scenarios.values()} == {"sec_001"}


def test_each_framework_is_a_simulation_and_repeated_scenarios_are_epochs(tmp_path):
    results = [RESULT, changed(RESULT, framework="langchain"), RESULT]
    run = read(written(tmp_path, results), "arc_eval")
    assert sorted(simulation.config_name for simulation in run.simulations) == ["arc-eval crewai", "arc-eval langchain"]
    assert [outcome.epoch for outcome in run.outcomes] == [1, 1, 2]
    assert len({outcome.simulation_key for outcome in run.outcomes}) == 2


def test_a_result_without_trace_or_clock_is_dated_by_its_metadata_or_its_file(tmp_path):
    undated = changed(PLAIN, scenario_id="fin_002", metadata={"agent_id": "bot"})
    first, second = read(written(tmp_path, [PLAIN, undated]), "arc_eval").outcomes
    assert (first.execution_time, second.execution_time) == (datetime(2026, 2, 1, tzinfo=UTC), MODIFIED)
    assert (first.status, first.tokens_used, first.trajectory["answer"]) == ("success", None, "Approved.")


def test_a_result_that_cannot_be_read_costs_the_others_nothing(tmp_path):
    results = [PLAIN, {"scenario_id": [], "output": "", "metadata": {}}, changed(PLAIN, metadata={"timestamp": "soon"})]
    run = read(written(tmp_path, results), "arc_eval")
    assert len(run.outcomes) == 1
    assert [bad.reason for bad in run.bad] == ["unexpected_shape", "bad_timestamp"]


def test_a_workflow_that_recovered_keeps_the_failure(tmp_path):
    (outcome,) = read(written(tmp_path, STEPS), "arc_eval").outcomes
    assert (outcome.status, outcome.execution_time_ms, outcome.step_count) == ("success", 60_000, 2)
    (failure,) = outcome.failures
    assert (failure.message, failure.category) == ("no answer", "timeout")
    assert failure.recovery_attempted
    assert failure.recovery_successful


def test_what_somebody_asked_for_does_not_stand_in_an_id(tmp_path):
    asked = {"user_query": "log in as bob, password=Tr0ub4dor3x please"}
    (scenario_id,) = read(written(tmp_path, [changed(STEPS[0], context=asked), STEPS[1]]), "arc_eval").scenarios
    (again,) = read(written(tmp_path, [changed(STEPS[1], context=asked)], "other.json"), "arc_eval").scenarios
    assert "tr0ub4dor3x" not in scenario_id.lower()
    assert scenario_id == again


def test_a_workflow_whose_last_step_failed_is_an_error(tmp_path):
    last = changed(STEPS[1], status="failed", error="disk full")
    (outcome,) = read(written(tmp_path, [changed(STEPS[0], status="completed", error=None), last]), "arc_eval").outcomes
    assert (outcome.status, [failure.message for failure in outcome.failures]) == ("error", ["disk full"])
    assert not outcome.failures[0].recovery_attempted


FILES = {
    "enhanced-traces/enhanced_security_traces.json": 120,
    "enhanced-traces/sample_enhanced_trace.json": 3,
    "quickstart/finance_example.json": 5,
    "quickstart/ml_example.json": 5,
    "quickstart/security_example.json": 5,
    "workflow-reliability/crewai_performance_trace.json": 1,
    "workflow-reliability/failed_trace_example.json": 1,
    "workflow-reliability/langchain_workflow_trace.json": 1,
    "workflow-reliability/schema_mismatch_examples.json": 2,
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_corpus_is_read(corpus, name):
    path = corpus / "arc_eval" / "examples" / name
    truth = json.loads(path.read_bytes())
    run = read(path, "arc_eval")
    assert not run.bad
    assert len(run.outcomes) == FILES[name]
    if "scenario_id" in truth[0] if isinstance(truth, list) else False:
        assert Counter(run.scenarios[outcome.scenario_id].source_id for outcome in run.outcomes) == Counter(
            result["scenario_id"] for result in truth
        )


def test_the_corpus_traces_agree_with_their_own_figures(corpus):
    path = corpus / "arc_eval/examples/enhanced-traces/enhanced_security_traces.json"
    truth = json.loads(path.read_bytes())
    outcomes = read(path, "arc_eval").outcomes
    assert sum(outcome.status == "error" for outcome in outcomes) == sum(not r["trace"]["success"] for r in truth) == 50
    for outcome, result in zip(outcomes, truth, strict=True):
        performance = result["performance_metrics"]
        assert outcome.cost_usd == performance["cost_usd"]
        assert outcome.tokens_used == performance["token_usage"]["total_tokens"]
        assert outcome.execution_time_ms == performance["total_latency_ms"]
        assert len(outcome.tools) == result["trace"]["tool_calls_count"]
        assert [failure.failure_type for failure in outcome.failures] == (
            [] if result["trace"]["success"] else [result["trace"]["failure_point"]]
        )
