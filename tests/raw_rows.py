"""Synthetic raw rows, made inside the database: deterministic, consistent totals, any size.

Every execution owns three requests and its totals are theirs. Sizes are skewed as in real logs: token counts are
log-normal, patterns follow a power law, some models have no price and some runs fail.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import psycopg

_SQL = (Path(__file__).parent / "data" / "raw_rows.sql").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Volume:
    """How much to make."""

    first_date: date
    days: int
    executions_per_day: int
    patterns: int = 40
    projects: int = 3

    @property
    def last_date(self) -> date:
        return self.first_date + timedelta(days=self.days - 1)


def insert(connection: psycopg.Connection, volume: Volume, *, seed: str = "") -> None:
    """Adds executions, their requests and tool calls; the same volume and seed give the same rows.

    Partitions are made, projects registered and touched days noted, as ingest does.
    """
    parameters = {
        "first_date": volume.first_date,
        "days": volume.days,
        "per_day": volume.executions_per_day,
        "patterns": volume.patterns,
        "projects": volume.projects,
        "seed": seed,
    }
    day_after = volume.last_date + timedelta(days=1)  # requests may follow their command past midnight
    connection.execute("select ops.ensure_month_partitions(%s, %s)", [volume.first_date, day_after])
    for statement in _SQL.split(";\n"):
        if statement.strip():
            connection.execute(statement, parameters)


def plan(connection: psycopg.Connection, days: list[date]) -> None:
    """Puts exactly these days on the list of the next build."""
    connection.execute("delete from ops.aggregation_days")
    connection.execute("insert into ops.aggregation_days (activity_date) select distinct unnest(%s::date[])", [days])
