"""What the warehouse holds of the sample: the numbers that the demo shows, each read from the database."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import class_row

if TYPE_CHECKING:
    from pipelines.samples.demo import DemoTruth

Row = TypeVar("Row")


@dataclass(frozen=True)
class ProjectTotals:
    """Work of coding agents in one sample project, all days; rates in percent, NULL cost where nothing has a price."""

    project_id: str
    executions: int
    requests: int
    tokens: int
    cost_usd: Decimal | None
    is_lower_bound: bool
    unpriced_requests: int
    """Requests of models without a known price."""
    incomplete_requests: int
    """Requests whose log holds only the first of their output tokens."""
    cache_hit_rate: Decimal | None


@dataclass(frozen=True)
class Pattern:
    """One of the most expensive patterns of the last 30 days of the sample."""

    project_id: str
    command: str
    pattern_signature: str
    runs: int
    success_rate: Decimal | float | None
    tokens_p50: float | None
    cost_usd: Decimal | None
    cache_hit_rate: Decimal | float | None


@dataclass(frozen=True)
class Advice:
    """What a rule found and could save over the window: the best case of that rule."""

    project_id: str
    pattern_signature: str
    rule_id: str
    saving_usd: Decimal


@dataclass(frozen=True)
class OptimizationTotals:
    """Runs of optimizers on one task of a project; scores on 0..1."""

    project_id: str
    task: str | None
    runs: int
    completed: int
    stopped: int
    """Failed or cancelled."""
    running: int
    lowest_start: Decimal | None
    best_score: Decimal | None
    """Of full evaluations."""
    best_optimizer: str | None
    tokens: int | None
    runs_without_tokens: int
    cost_usd: Decimal | None
    runs_without_cost: int
    """Runs of which at least a part has no price."""


@dataclass(frozen=True)
class OptimizerResult:
    """One optimizer on the data set that most optimizers have tried; scores on 0..1, of full evaluations."""

    project_id: str
    task: str | None
    dataset_hash: str
    optimizer: str
    runs: int
    evaluations: int
    best_score: Decimal
    mean_gain: Decimal | None
    """Best minus initial score, over the runs that have both."""


@dataclass(frozen=True)
class EvaluationTotals:
    """Evaluations of one project."""

    project_id: str
    simulations: int
    running: int
    versions: int
    """Versions of configurations that were evaluated."""
    days: int
    outcomes: int
    judged: int
    """Outcomes with a verdict."""
    passed: int
    tokens: int | None
    outcomes_without_tokens: int
    cost_usd: Decimal | None
    outcomes_without_cost: int


@dataclass(frozen=True)
class VersionResult:
    """One version of the configuration that was evaluated most often, on scenarios that all its versions met."""

    project_id: str
    name: str
    version_number: int
    simulations: int
    judged: int
    passed: int
    mean_cost_usd: Decimal | None
    """Of an outcome."""


@dataclass(frozen=True)
class Failure:
    """Errors of evaluations with one template."""

    category: str
    template: str
    times: int
    last_project: str
    last_message: str
    last_seen_at: datetime


@dataclass(frozen=True)
class Summary:
    """All that the demo shows."""

    first_day: date
    last_day: date
    projects: tuple[ProjectTotals, ...]
    statuses: dict[str, int]
    """Executions of coding agents by how they ended."""
    patterns: tuple[Pattern, ...]
    advice: tuple[Advice, ...]
    optimizations: tuple[OptimizationTotals, ...]
    optimizers: tuple[OptimizerResult, ...]
    evaluations: tuple[EvaluationTotals, ...]
    versions: tuple[VersionResult, ...]
    failures: tuple[Failure, ...]
    vectors: int
    """Texts that `tracemill similar` compares with."""
    left_out: tuple[str, ...]
    """Extras that are not installed, so that their formats are not in the sample."""
    redacted_examples: tuple[str, ...]
    secrets_left: int
    """Stored texts in which a planted secret can still be read."""
    quarantined: int


def read_summary(dsn: str, truth: "DemoTruth") -> Summary:
    """The summary of the sample projects."""
    from pipelines.database import connect

    logs = truth.logs
    with connect(dsn, role="tracemill_dbt") as connection:
        reader = _Reader(connection, {"projects": list(logs.projects), "secrets": logs.secrets})
        (statuses,) = reader.rows("statuses", dict)
        return Summary(
            first_day=logs.first_day,
            last_day=logs.last_day,
            projects=reader.rows("projects", ProjectTotals),
            statuses=statuses,
            patterns=reader.rows("patterns", Pattern),
            advice=reader.rows("advice", Advice),
            optimizations=reader.rows("optimizations", OptimizationTotals),
            optimizers=reader.rows("optimizers", OptimizerResult),
            evaluations=reader.rows("evaluations", EvaluationTotals),
            versions=reader.rows("versions", VersionResult),
            failures=reader.rows("failures", Failure),
            vectors=reader.number("vectors"),
            left_out=truth.left_out,
            redacted_examples=tuple(row["command_raw"] for row in reader.rows("redacted", dict)),
            secrets_left=reader.number("leftovers"),
            quarantined=reader.number("quarantined"),
        )


class _Reader:
    """Answers to the queries beside this module."""

    def __init__(self, connection: psycopg.Connection[Any], given: dict[str, Any]) -> None:
        self._connection, self._given = connection, given

    def rows(self, name: str, kind: type[Row]) -> tuple[Row, ...]:
        with self._connection.cursor(row_factory=class_row(kind)) as cursor:
            return tuple(cursor.execute(_query(name), self._given).fetchall())

    def number(self, name: str) -> int:
        row = self._connection.execute(_query(name), self._given).fetchone()
        return int(row[0]) if row else 0


@cache
def _query(name: str) -> bytes:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()
