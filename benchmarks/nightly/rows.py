"""Raw rows of optimizations and evaluations, made inside the database: deterministic, uneven, any size.

Runs own their iterations and a part of them samples; outcomes own calls of tools and, when they failed, what went
wrong. Executions are made by ``tests.raw_rows``.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psycopg

_SQL = (Path(__file__).parent / "analytics_rows.sql").read_text(encoding="utf-8")
_BATCH_DAYS = 10
_PROJECTS = 3
_SCENARIOS = 40
_SAMPLED_SHARE = 0.05
"""Of the runs: those with samples of their first and last iteration."""


@dataclass(frozen=True)
class Analytics:
    """How much of both domains."""

    runs: int
    outcomes: int

    def spread_over(self, days: int) -> "Analytics":
        """The part of one of as many days."""
        return Analytics(self.runs // days, self.outcomes // days)


def insert(connection: psycopg.Connection, first: date, days: int, each_day: Analytics, *, seed: str = "") -> None:
    """Adds ``each_day`` to every day from ``first``; the same days and seed give the same rows.

    Partitions are made and projects registered, as ingest does. ``connection`` commits each statement.
    """
    connection.execute("select ops.ensure_month_partitions(%s, %s)", [first, first + timedelta(days=days)])
    for begin in range(0, days, _BATCH_DAYS):
        parameters = {
            "first_date": first + timedelta(days=begin),
            "days": min(_BATCH_DAYS, days - begin),
            "runs_per_day": each_day.runs,
            "outcomes_per_day": each_day.outcomes,
            "projects": _PROJECTS,
            "scenarios": _SCENARIOS,
            "sampled_share": _SAMPLED_SHARE,
            "seed": seed,
        }
        for statement in _SQL.split(";\n"):
            if statement.strip():
                connection.execute(statement, parameters)
