"""One folder with a sample of every format and a storage beside it, and what must be in the warehouse afterwards."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pipelines import samples
from pipelines.samples import (
    agent_evaluations,
    inspect_logs,
    mlflow_stores,
    optimizations,
    optuna_studies,
    promptfoo,
)
from tests import oracle, warehouse

PROJECT = "storefront"


@dataclass(frozen=True)
class EveryFormat:
    """Files of all formats and an Optuna storage that is given by its address."""

    folder: Path
    storage: str
    runs: int
    """Optimization runs, those of the storage included."""
    iterations: int
    samples: int
    simulations: int
    outcomes: int
    passed: int
    tool_calls: int
    """Of evaluations."""

    def holds(self, connection: psycopg.Connection) -> None:
        """Fails unless the warehouse holds what was written, nothing lost and nothing twice."""
        assert warehouse.responses(connection) == oracle.responses(self.folder / "logs")
        assert warehouse.tool_uses(connection) == oracle.tool_uses(self.folder / "logs")
        warehouse.assert_totals_add_up(connection)
        (found,) = connection.execute(
            """
            select
                (select count(*) from raw.optimization_runs),
                (select count(*) from raw.optimization_iterations),
                (select count(*) from raw.optimization_samples),
                (select count(*) from raw.simulations),
                (select count(*) from raw.outcomes),
                (select count(*) from raw.outcomes where is_passed),
                (select count(*) from raw.tool_usage)
            """
        ).fetchall()
        assert found == (
            self.runs, self.iterations, self.samples, self.simulations, self.outcomes, self.passed, self.tool_calls,
        )  # fmt: skip


def write(folder: Path, *, log_bytes: int) -> EveryFormat:
    """Writes the files of one project."""
    samples.generate(folder / "files" / "logs", days=10, size_bytes=log_bytes, projects=1)
    stored = optuna_studies.write(folder / "storage", projects=[PROJECT]).runs
    runs = [
        *stored,
        *optimizations.write(folder / "files" / "compiles", projects=[PROJECT]).runs,
        *optuna_studies.write(folder / "files" / "studies", projects=[PROJECT], seed=7).runs,
        *mlflow_stores.write(folder / "files" / "tracking", projects=[PROJECT]).runs,
    ]
    logs = inspect_logs.write(folder / "files" / "inspect", projects=[PROJECT])
    results = promptfoo.write(folder / "files" / "promptfoo", projects=[PROJECT])
    agents = agent_evaluations.write(folder / "files" / "agents" / PROJECT)
    verdicts = Counter(results.verdicts)
    return EveryFormat(
        folder=folder / "files",
        storage=f"sqlite:///{folder}/storage/{PROJECT}/optuna.db",
        runs=len(runs),
        iterations=sum(run.iterations for run in runs),
        samples=sum(run.samples for run in runs),
        simulations=logs.simulations.total() + results.simulations + agents.simulations,
        outcomes=logs.outcomes.total() + verdicts.total() + agents.outcomes,
        passed=logs.passed + verdicts["successes"] + agents.passed,
        tool_calls=logs.tools.total() + agents.tool_calls,
    )
