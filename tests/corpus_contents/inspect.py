"""Logs of Inspect AI and results of promptfoo in the corpus."""

from tests.corpus_contents.entries import evaluation, nothing

_ANALYSIS = "inspect/inspect_ai/analysis"
_LOG = "inspect/inspect_ai/log"
_SCORER = "inspect/inspect_ai/scorer/logs"
_PROMPTFOO = "promptfoo/generated_0.121.20"

CONTENTS = {
    f"{_ANALYSIS}/test_logs/2025-05-12T20-27-36-04-00_browser.json": evaluation(
        "inspect", simulations=1, outcomes=1, scenarios=1, configurations=1, tools=4
    ),
    f"{_ANALYSIS}/test_logs/2025-05-12T20-28-13-04-00_no-samples.json": evaluation(
        "inspect", simulations=1, configurations=1, note="cancelled"
    ),
    f"{_ANALYSIS}/test_logs/2025-05-12T20-28-13-04-00_popularity.json": evaluation(
        "inspect", simulations=1, outcomes=3, scenarios=3, configurations=1, note="cancelled"
    ),
    f"{_ANALYSIS}/test_logs/2025-05-12T20-28-26-04-00_security-guide.json": evaluation(
        "inspect", simulations=1, outcomes=3, scenarios=3, configurations=1
    ),
    f"{_ANALYSIS}/test_logs_choices/mmlu-no-summary-choices.eval": evaluation(
        "inspect", simulations=1, outcomes=1, scenarios=1, configurations=1
    ),
    f"{_ANALYSIS}/test_logs_choices/mmlu-summary-choices.eval": evaluation("inspect", simulations=1, outcomes=1),
    f"{_LOG}/test_eval_log/log_formats.eval": evaluation(
        "inspect", simulations=1, outcomes=1, scenarios=1, configurations=1
    ),
    f"{_LOG}/test_eval_log/log_formats.json": evaluation(
        "inspect", note="the simulation of log_formats.eval once more"
    ),
    f"{_LOG}/test_eval_log/log_images.json": evaluation(
        "inspect", simulations=1, outcomes=1, scenarios=1, configurations=1, note="pictures are named, not kept"
    ),
    f"{_LOG}/test_eval_log/log_images_tc.json": evaluation(
        "inspect", simulations=1, outcomes=1, note="pictures are named, not kept"
    ),
    f"{_LOG}/test_eval_log/log_message_deduplication.eval": evaluation(
        "inspect", simulations=1, outcomes=1, scenarios=1, configurations=1, tools=5
    ),
    f"{_LOG}/test_eval_log/log_read_sample.eval": evaluation("inspect", simulations=1, outcomes=1, configurations=1),
    f"{_LOG}/test_eval_log/log_read_sample.json": evaluation("inspect", simulations=1, outcomes=1),
    f"{_LOG}/test_eval_log/log_streaming.eval": evaluation(
        "inspect", simulations=1, outcomes=4, planned=2, scenarios=1, configurations=1, note="2 scenarios in 2 epochs"
    ),
    f"{_LOG}/test_eval_log/log_tool_call_error.json": evaluation(
        "inspect", simulations=1, outcomes=1, scenarios=1, configurations=1, tools=11, note="unscored; the tools failed"
    ),
    f"{_LOG}/test_list_logs/2024-11-05T13-31-45-05-00_input-task_8zXjbRzCWrL9GXiXo2vus9.json": evaluation(
        "inspect", simulations=1, outcomes=1, scenarios=1, configurations=1
    ),
    f"{_LOG}/test_list_logs/2024-11-05T13-32-37-05-00_input-task_hxs4q9azL3ySGkjJirypKZ.eval": evaluation(
        "inspect", simulations=1, outcomes=1
    ),
    f"{_SCORER}/2025-02-11T15-17-00-05-00_popularity_dPiJifoWeEQBrfWsAopzWr.eval": evaluation(
        "inspect", simulations=1, outcomes=10, scenarios=10, configurations=1, note="unscored"
    ),
    f"{_SCORER}/2025-02-11T15-18-04-05-00_popularity_mj7khqpMM4GBCfVQozKgzB.eval": evaluation(
        "inspect", simulations=1, outcomes=10
    ),
    f"{_PROMPTFOO}/results.json": evaluation(
        "promptfoo",
        simulations=6,
        outcomes=48,
        scenarios=8,
        configurations=6,
        failures=4,
        note="28 passed, 16 failed a check, 4 errors",
    ),
    f"{_PROMPTFOO}/results.jsonl": evaluation("promptfoo", note="the results of results.json once more"),
    f"{_PROMPTFOO}/results.csv": nothing("the same results, rounded and without ids"),
    f"{_PROMPTFOO}/promptfooconfig.yaml": nothing("the test suite, whose settings stand in results.json"),
    f"{_PROMPTFOO}/provider.js": nothing("a program"),
}
