"""Files of tau-bench and arc-eval in the corpus."""

from tests.corpus_contents.entries import evaluation

_ARC_EVAL = "arc_eval/examples"

CONTENTS = {
    "tau_bench/gpt-4o-airline.json": evaluation(
        "tau_bench",
        simulations=1,
        outcomes=200,
        planned=50,
        scenarios=50,
        configurations=1,
        tools=1164,
        note="84 passed",
    ),
    f"{_ARC_EVAL}/enhanced-traces/enhanced_security_traces.json": evaluation(
        "arc_eval",
        simulations=5,
        outcomes=120,
        scenarios=120,
        configurations=5,
        tools=355,
        failures=50,
        note="5 frameworks; 50 errors",
    ),
    f"{_ARC_EVAL}/enhanced-traces/sample_enhanced_trace.json": evaluation(
        "arc_eval", simulations=3, outcomes=3, scenarios=3, tools=9, note="3 frameworks"
    ),
    f"{_ARC_EVAL}/quickstart/finance_example.json": evaluation(
        "arc_eval", simulations=1, outcomes=5, scenarios=5, configurations=1
    ),
    f"{_ARC_EVAL}/quickstart/ml_example.json": evaluation(
        "arc_eval", simulations=1, outcomes=5, scenarios=5, configurations=1
    ),
    f"{_ARC_EVAL}/quickstart/security_example.json": evaluation(
        "arc_eval", simulations=1, outcomes=5, scenarios=5, configurations=1
    ),
    f"{_ARC_EVAL}/workflow-reliability/crewai_performance_trace.json": evaluation(
        "arc_eval",
        simulations=1,
        outcomes=1,
        scenarios=1,
        configurations=1,
        failures=1,
        note="recovered from its failure",
    ),
    f"{_ARC_EVAL}/workflow-reliability/failed_trace_example.json": evaluation(
        "arc_eval", simulations=1, outcomes=1, scenarios=1, configurations=1, tools=1, failures=1, note="an error"
    ),
    f"{_ARC_EVAL}/workflow-reliability/langchain_workflow_trace.json": evaluation(
        "arc_eval", simulations=1, outcomes=1, scenarios=1, configurations=1, tools=3, failures=2, note="an error"
    ),
    f"{_ARC_EVAL}/workflow-reliability/schema_mismatch_examples.json": evaluation(
        "arc_eval", simulations=1, outcomes=2, scenarios=2, configurations=1, failures=2, note="errors"
    ),
}
