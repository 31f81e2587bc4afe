"""Corpus files of Optuna and MLflow and what is loaded from each."""

_MLFLOW = "optuna_or_mlflow/mlflow_3.17.2"

CONTENTS: dict[str, str] = {
    "optuna_or_mlflow/miprov2_optuna_study.db": "1 run, 12 iterations (4 full, 8 minibatch), full score 90.0",
    "optuna_or_mlflow/miprov2_optuna_trials.json": "nothing: the same trials, told for people",
    f"{_MLFLOW}/mlflow.db": "8 runs (5 compiles, 3 evaluations), 26 iterations (18 full, 8 minibatch)",
    f"{_MLFLOW}/artifacts/": "part of mlflow.db: 396 samples of 24 result tables, 31 programs, 5 data sets",
}
