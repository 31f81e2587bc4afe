"""What the corpus says about itself: ground truth to compare with, and its own description."""

from tests.corpus_contents.entries import nothing

_CCUSAGE = ("18_daily", "18_session", "_blocks", "_codex_daily", "_codex_session", "_daily", "_daily_by_project",
            "_daily_calculate", "_session")  # fmt: skip

CONTENTS = {
    "README.md": nothing("describes the corpus"),
    "MANIFEST.json": nothing("where each file comes from"),
    **{f"ground_truth/ccusage{name}.json": nothing("what ccusage counts in the logs") for name in _CCUSAGE},
    "ground_truth/commands_reference.json": nothing("commands of the transcripts, told apart by hand"),
    "ground_truth/stream_json_reference.json": nothing("what the headless runs report of themselves"),
    "ground_truth/inspect_logs.json": nothing("what inspect_ai reads from its logs"),
    "ground_truth/inspect_evals_df.csv": nothing("what inspect_ai reads from its logs, a row a log"),
    "ground_truth/inspect_samples_df.csv": nothing("what inspect_ai reads from its logs, a row a sample"),
    "ground_truth/mlflow_optuna.json": nothing("what the clients of MLflow and Optuna read from their stores"),
}
