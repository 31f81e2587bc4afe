"""Monthly partitions before they are needed: three months ahead, and for months whose rows fell into DEFAULT.

Ingest makes the partitions of the months it brings, so rows in DEFAULT come from writers that did not. While they are
there, the partition of their month cannot be made: both happen in one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from pipelines.maintenance.archive_tables import next_month

MONTHS_AHEAD = 3
MOST_ROWS = 1_000_000
"""Rows of a month that one transaction may move."""


@dataclass(frozen=True)
class StrayRows:
    """Rows of one month of a table that lie in its DEFAULT partition."""

    relation: str
    month: date | None
    """None for times that have no month (infinity)."""
    row_count: int
    domain: str | None
    """Tables that move together; None where nothing moves them."""

    def __str__(self) -> str:
        when = f"{self.month:%Y-%m}" if self.month else "no month"
        return f"{self.row_count:,} rows of {self.relation} of {when} lie in its DEFAULT partition"


@dataclass(frozen=True)
class Plan:
    """What is missing."""

    last_month: date
    """Last month that must have partitions."""
    missing: tuple[str, ...]
    """Names of partitions from this month on."""
    stray: tuple[StrayRows, ...]


def plan(connection: psycopg.Connection[Any], today: date) -> Plan:
    """What is missing on ``today``. Changes nothing."""
    months = [today.replace(day=1)]
    while len(months) <= MONTHS_AHEAD:
        months.append(next_month(months[-1]))
    missing = connection.execute(
        """
        select ops.month_partition_name(format('%%I.%%I', n.nspname, c.relname), month)
        from pg_class as c
        join pg_namespace as n on n.oid = c.relnamespace
        cross join unnest(%s::date[]) as month
        where n.nspname in ('raw', 'audit') and c.relkind = 'p'
            and ops.month_partition(format('%%I.%%I', n.nspname, c.relname), month) is null
        order by 1
        """,
        [months],
    ).fetchall()
    stray = connection.execute(
        """
        select d.relation, d.month, d.row_count, r.domain
        from ops.default_rows() as d
        left join ops.retention_rules as r on r.relation = d.relation and r.domain <> 'audit' and d.month is not null
        """
    ).fetchall()
    return Plan(months[-1], tuple(name for (name,) in missing), tuple(StrayRows(*row) for row in stray))


def make_ahead(connection: psycopg.Connection[Any], today: date, last_month: date) -> tuple[int, list[str]]:
    """Make what is missing from ``today``'s month to ``last_month``; returns how many, and what could not be made.

    Safe twice at once. Stray rows are adopted first: while they are there, their month cannot be made.
    """
    made, problems = 0, []
    month = today.replace(day=1)
    while month <= last_month:
        try:
            row = connection.execute("select ops.ensure_month_partitions(%s, %s)", [month, month]).fetchone()
            made += int(row[0]) if row else 0
        except psycopg.errors.CheckViolation:
            problems.append(f"Partitions of {month:%Y-%m} cannot be made while rows of that month lie in DEFAULT.")
        month = next_month(month)
    return made, problems


def adopt(connection: psycopg.Connection[Any], stray: Sequence[StrayRows]) -> tuple[list[str], list[str]]:
    """Move stray rows to partitions of their months; returns what was done and what could not be, as sentences."""
    steps, problems = [], [f"{rows}, and nothing moves them: look at them." for rows in stray if rows.domain is None]
    units = dict.fromkeys((rows.domain, rows.month) for rows in stray if rows.domain is not None)
    for domain, month in units:
        try:
            row = connection.execute("select ops.adopt_default_rows(%s, %s, %s)", [domain, month, MOST_ROWS]).fetchone()
            steps.append(
                f"moved {row[0] if row else 0:,} rows of {domain} out of DEFAULT, into partitions of {month:%Y-%m}"
            )
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            problems.append(
                f"Rows of {domain} of {month:%Y-%m} stay in DEFAULT until the next run: their tables are in use."
            )
        except psycopg.errors.ProgramLimitExceeded as error:
            problems.append(f"Rows of {domain} stay in DEFAULT: {error.diag.message_primary}; move them by hand.")
    return steps, problems
