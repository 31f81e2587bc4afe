"""Optimization runs written as a client writes them, and their statistics worked out apart from the database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

PROJECT = "alpha"


@dataclass(frozen=True)
class Iteration:
    """What counts of an iteration; its run's scale is 0..100."""

    number: int
    score: int | None = None
    kind: str = "full"
    duration_ms: int | None = None
    tokens: int | None = None
    cost: Decimal | None = None


@dataclass(frozen=True)
class Statistics:
    """What a run says about its iterations."""

    iterations: int
    full_evaluations: int
    best_iteration: int | None
    best_kind: str | None
    best_score: Decimal | None
    timed: int
    milliseconds: int
    tokens: int
    unpriced: int
    cost: Decimal
    flagged: tuple[int, ...]
    """Iterations with is_best."""


def expected(iterations: Iterable[Iteration], direction: str = "maximize") -> Statistics:
    """The statistics by definition: one pass in Python over what was written."""
    rows = list(iterations)
    sign = -1 if direction == "minimize" else 1
    best = max(
        (row for row in rows if row.score is not None),
        key=lambda row: (row.kind == "full", sign * row.score, -row.number),
        default=None,
    )
    return Statistics(
        iterations=len(rows),
        full_evaluations=sum(row.kind == "full" for row in rows),
        best_iteration=best and best.number,
        best_kind=best and best.kind,
        best_score=best and Decimal(best.score),
        timed=sum(row.duration_ms is not None for row in rows),
        milliseconds=sum(row.duration_ms or 0 for row in rows),
        tokens=sum(row.tokens or 0 for row in rows),
        unpriced=sum(row.cost is None for row in rows),
        cost=sum((row.cost or Decimal(0) for row in rows), Decimal(0)),
        flagged=(best.number,) if best else (),
    )


def stored(connection: psycopg.Connection, run: UUID, project: str = PROJECT) -> Statistics:
    """The statistics as the database keeps them."""
    row = connection.execute(
        """
        select
            iterations, full_evaluations, best_iteration, best_evaluation_kind, best_score_raw, timed_iterations,
            iteration_ms, iteration_tokens, unpriced_iterations, iteration_cost_usd,
            array(
                select i.iteration from raw.optimization_iterations as i
                where i.project_id = r.project_id and i.run_id = r.id and i.is_best order by 1
            )
        from raw.optimization_runs as r where project_id = %s and id = %s
        """,
        [project, run],
    ).fetchone()
    assert row is not None, f"run {run} is not there"
    *numbers, flagged = row
    return Statistics(*numbers, flagged=tuple(flagged))


def register(connection: psycopg.Connection, *projects: str) -> None:
    for project in projects:
        connection.execute(
            "insert into app.project_config (project_id, display_name) values (%s, %s) on conflict do nothing",
            [project, project],
        )


def insert(connection: psycopg.Connection, table: str, rows: list[Mapping[str, Any]]) -> None:
    """One statement, however many rows; all have the columns of the first."""
    columns = list(rows[0])
    values = sql.SQL("({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(columns)))
    statement = sql.SQL("insert into raw.{} ({}) values {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([values] * len(rows)),
    )
    connection.execute(
        statement, [Jsonb(row[name]) if isinstance(row[name], dict) else row[name] for row in rows for name in columns]
    )


def add_run(connection: psycopg.Connection, **columns: Any) -> UUID:
    identifier = uuid4()
    row = {"project_id": PROJECT, "run_name": "a run", "optimizer_type": "miprov2", "score_scale": "[0,100]", **columns}
    insert(connection, "optimization_runs", [{"id": identifier, **row}])
    return identifier


def iteration_row(run: UUID, iteration: Iteration, direction: str = "maximize") -> dict[str, Any]:
    end = iteration.duration_ms
    return {
        "project_id": PROJECT,
        "run_id": run,
        "iteration": iteration.number,
        "evaluation_kind": iteration.kind,
        "score_raw": iteration.score,
        "score_scale": "[0,100]",
        "score_direction": direction,
        "iteration_start_time": "2026-10-01T00:00:00Z",
        "iteration_end_time": None if end is None else f"2026-10-01T00:00:{end / 1000:06.3f}Z",
        "tokens_used": iteration.tokens,
        "cost_usd": iteration.cost,
    }


def add_iterations(
    connection: psycopg.Connection, run: UUID, *iterations: Iteration, direction: str = "maximize"
) -> None:
    """All in one statement."""
    insert(connection, "optimization_iterations", [iteration_row(run, row, direction) for row in iterations])


def sample_row(run: UUID, iteration: int, index: int, **columns: Any) -> dict[str, Any]:
    return {"project_id": PROJECT, "run_id": run, "iteration": iteration, "sample_index": index, **columns}
