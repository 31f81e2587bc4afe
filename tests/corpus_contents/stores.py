"""Files of Optuna and MLflow in the corpus."""

from tests.corpus_contents.entries import nothing, optimization

CONTENTS = {
    "optuna_or_mlflow/miprov2_optuna_study.db": optimization(
        "optuna", runs=1, iterations=12, note="4 full, 8 minibatch; full score 90.0"
    ),
    "optuna_or_mlflow/miprov2_optuna_trials.json": nothing("the same trials, told for people"),
    "optuna_or_mlflow/mlflow_3.17.2/": optimization(
        "mlflow",
        runs=8,
        iterations=26,
        samples=396,
        note="mlflow.db with its artifacts: 5 compiles and 3 evaluations, 24 result tables, 31 programs, 5 data sets",
    ),
}
