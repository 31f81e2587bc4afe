"""What an ingest imports while it works, for a process that many ingests are forked from."""

import inspect_ai.log
import mlflow
import mlflow.tracking
import optuna

from pipelines.ingest import merge, outputs, worker

__all__ = ["inspect_ai", "merge", "mlflow", "optuna", "outputs", "worker"]

worker.load_what_workers_share()
