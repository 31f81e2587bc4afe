"""What is loaded from the files of tau-bench and arc-eval."""

_ARC_EVAL = "arc_eval/examples/"

CONTENTS: dict[str, str] = {
    "tau_bench/gpt-4o-airline.json": "1 simulation of 50 scenarios, 200 outcomes (84 passed), 1,164 tool calls",
    f"{_ARC_EVAL}enhanced-traces/enhanced_security_traces.json": (
        "5 simulations (a framework each) of 120 scenarios, 120 outcomes (50 errors), 355 tool calls, 50 failures"
    ),
    f"{_ARC_EVAL}enhanced-traces/sample_enhanced_trace.json": (
        "3 simulations (a framework each) of 3 scenarios, 3 outcomes, 9 tool calls"
    ),
    f"{_ARC_EVAL}quickstart/finance_example.json": "1 simulation of 5 scenarios, 5 outcomes",
    f"{_ARC_EVAL}quickstart/ml_example.json": "1 simulation of 5 scenarios, 5 outcomes",
    f"{_ARC_EVAL}quickstart/security_example.json": "1 simulation of 5 scenarios, 5 outcomes",
    f"{_ARC_EVAL}workflow-reliability/crewai_performance_trace.json": (
        "1 simulation of 1 scenario, 1 outcome of 3 steps, 1 failure that was recovered from"
    ),
    f"{_ARC_EVAL}workflow-reliability/failed_trace_example.json": (
        "1 simulation of 1 scenario, 1 outcome (error), 1 tool call, 1 failure"
    ),
    f"{_ARC_EVAL}workflow-reliability/langchain_workflow_trace.json": (
        "1 simulation of 1 scenario, 1 outcome (error), 3 tool calls, 2 failures"
    ),
    f"{_ARC_EVAL}workflow-reliability/schema_mismatch_examples.json": (
        "1 simulation of 2 scenarios, 2 outcomes (errors), 2 failures"
    ),
}
