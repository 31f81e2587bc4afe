"""Optimization runs of projects that share every id: what security tests attack."""

from uuid import UUID

import psycopg

from tests.optimization import Iteration, insert, iteration_row, sample_row

TABLES = ("raw.optimization_runs", "raw.optimization_iterations", "raw.optimization_samples")


def run_id(number: int) -> UUID:
    """Id of the project's run of that number, the same in every project."""
    return UUID(int=number)


def add_runs(owner: psycopg.Connection, project: str, count: int) -> None:
    """Completed runs with one iteration and one sample each; every text names its project."""
    secret = f"secret of {project}"
    for number in range(1, count + 1):
        run = {
            "project_id": project,
            "id": run_id(number),
            "run_name": f"{secret} {number}",
            "optimizer_type": "miprov2",
            "status": "completed",
            "score_scale": "[0,100]",
            "final_score_raw": 10 * number,
            "evaluation_kind": "full",
            "config": {"model": secret},
        }
        iteration = iteration_row(run_id(number), Iteration(1, 10 * number, tokens=5, cost=None))
        sample = sample_row(run_id(number), 1, 0, metadata={"note": secret})
        insert(owner, "optimization_runs", [run])
        insert(owner, "optimization_iterations", [{**iteration, "project_id": project, "params": {"note": secret}}])
        insert(owner, "optimization_samples", [{**sample, "project_id": project}])
