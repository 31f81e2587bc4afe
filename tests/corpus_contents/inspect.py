"""What is loaded from the logs of Inspect AI and the results of promptfoo."""

_ANALYSIS = "inspect/inspect_ai/analysis/"
_LOG = "inspect/inspect_ai/log/"
_SCORER = "inspect/inspect_ai/scorer/logs/"
_PROMPTFOO = "promptfoo/generated_0.121.20/"

CONTENTS: dict[str, str] = {
    f"{_ANALYSIS}test_logs/2025-05-12T20-27-36-04-00_browser.json": "1 simulation, 1 outcome, 4 tool uses",
    f"{_ANALYSIS}test_logs/2025-05-12T20-28-13-04-00_no-samples.json": "1 simulation (cancelled), no outcomes",
    f"{_ANALYSIS}test_logs/2025-05-12T20-28-13-04-00_popularity.json": "1 simulation (cancelled), 3 outcomes",
    f"{_ANALYSIS}test_logs/2025-05-12T20-28-26-04-00_security-guide.json": "1 simulation, 3 outcomes",
    f"{_ANALYSIS}test_logs_choices/mmlu-no-summary-choices.eval": "1 simulation, 1 outcome",
    f"{_ANALYSIS}test_logs_choices/mmlu-summary-choices.eval": "1 simulation, 1 outcome",
    f"{_LOG}test_eval_log/log_formats.eval": "1 simulation, 1 outcome",
    f"{_LOG}test_eval_log/log_formats.json": "the simulation and outcome of log_formats.eval once more: nothing new",
    f"{_LOG}test_eval_log/log_images.json": "1 simulation, 1 outcome (pictures are named, not kept)",
    f"{_LOG}test_eval_log/log_images_tc.json": "1 simulation, 1 outcome (pictures are named, not kept)",
    f"{_LOG}test_eval_log/log_message_deduplication.eval": "1 simulation, 1 outcome, 5 tool uses",
    f"{_LOG}test_eval_log/log_read_sample.eval": "1 simulation, 1 outcome",
    f"{_LOG}test_eval_log/log_read_sample.json": "1 simulation, 1 outcome",
    f"{_LOG}test_eval_log/log_streaming.eval": "1 simulation, 4 outcomes (2 scenarios in 2 epochs)",
    f"{_LOG}test_eval_log/log_tool_call_error.json": "1 simulation, 1 outcome (unscored), 11 tool uses (errors)",
    f"{_LOG}test_list_logs/2024-11-05T13-31-45-05-00_input-task_8zXjbRzCWrL9GXiXo2vus9.json": "1 simulation, 1 outcome",
    f"{_LOG}test_list_logs/2024-11-05T13-32-37-05-00_input-task_hxs4q9azL3ySGkjJirypKZ.eval": "1 simulation, 1 outcome",
    f"{_SCORER}2025-02-11T15-17-00-05-00_popularity_dPiJifoWeEQBrfWsAopzWr.eval": (
        "1 simulation, 10 outcomes (unscored)"
    ),
    f"{_SCORER}2025-02-11T15-18-04-05-00_popularity_mj7khqpMM4GBCfVQozKgzB.eval": "1 simulation, 10 outcomes",
    f"{_PROMPTFOO}results.json": "6 simulations, 8 scenarios, 48 outcomes (28 passed, 16 failed a check, 4 errors)",
    f"{_PROMPTFOO}results.jsonl": "the results of results.json once more: nothing new",
    f"{_PROMPTFOO}results.csv": "nothing: the same results, rounded and without ids",
    f"{_PROMPTFOO}promptfooconfig.yaml": "nothing: the test suite, whose settings stand in results.json",
    f"{_PROMPTFOO}provider.js": "nothing: a program",
}
