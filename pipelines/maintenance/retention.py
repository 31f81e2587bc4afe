"""Retention: months older than a project keeps them go to the archive, then leave the database.

Protocol. ``plan`` finds the months of each project whose last day is older than the limit, and says which of them
have to wait. ``apply`` archives and proves them one by one (pipelines.maintenance.archive), then releases a month of a
domain for all its projects in one transaction: ``ops.release_archived_rows`` compares once more, under locks, and
drops the partitions or, where another project still has rows there, deletes. Whatever dies in between, the next run
goes on from what is proven.

Limits: ``ops.retention_rules``, and per project ``app.project_config.settings -> 'retention'``. The audit log has one
limit for all, because a month of it leaves whole or not at all.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pipelines.maintenance import aggregation
from pipelines.maintenance.archive import ArchiveError, TableMonth, archive_month, remove_superseded
from pipelines.maintenance.archive_tables import Table, month_start, next_month, tables

DOMAINS = ("executions", "outcomes", "samples")
AUDIT = ("audit",)

_TRIES = 5
_PAUSE_SECONDS = 1.0

_LIMITS = """
select
    coalesce(limits.project_id, found.project_id) as project_id,
    coalesce(limits.keep_days, %(keep_days)s) as keep_days,
    coalesce(limits.is_held, false) as is_held
from unnest(%(projects)s::text[]) as found (project_id)
left join (
    select
        project_id,
        round((settings -> 'retention' ->> %(domain)s)::numeric)::integer as keep_days,
        (settings ->> 'legal_hold')::boolean as is_held
    from app.project_config
) as limits on limits.project_id = found.project_id
"""

_WAITING = """
select 'has days that wait for aggregation' as reason
where %(domain)s <> 'audit' and exists (
    select from ops.touched_days as t
    where t.project_id = %(project)s and t.activity_date >= %(first)s and t.activity_date < %(end)s
    union all
    select from ops.aggregation_days as d where d.activity_date >= %(first)s and d.activity_date < %(end)s
)
union all
select 'was restored and is held until ' || to_char(max(m.held_until), 'YYYY-MM-DD HH24:MI') || ' UTC'
from ops.archived_months as m
join ops.retention_rules as r on r.relation = m.relation
where r.domain = %(domain)s and m.project_id = %(project)s and m.month = %(first)s and m.held_until > now()
having count(*) > 0
limit 1
"""


@dataclass(frozen=True)
class Unit:
    """A month of one project in one domain whose time has come."""

    domain: str
    month: date
    project_id: str
    rows: dict[str, int]
    """Rows by table."""
    waits_because: str | None
    """Why it stays for now; None when it can go."""

    def __str__(self) -> str:
        rows = sum(self.rows.values())
        name = f"{self.domain} of {self.project_id} in {self.month:%Y-%m} ({rows:,} rows)"
        return f"{name}: stays, because it {self.waits_because}" if self.waits_because else f"{name}: to the archive"


@dataclass
class Outcome:
    """What ``apply`` did."""

    steps: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    archived_rows: int = 0
    """Rows newly written to files."""
    released_rows: int = 0
    """Rows taken out of tables."""
    dropped_partitions: int = 0
    left: int = 0
    """Months for which there was no time."""


def plan(connection: psycopg.Connection[Any], domains: Sequence[str], today: date) -> list[Unit]:
    """The months that are past their limit on ``today``, oldest first. Changes nothing."""
    units = []
    for domain in domains:
        keep_days, shortest_days = _days(connection, domain)
        # Nobody's rows from there on are past their limit, so the partitions in use are not read.
        end = (today - timedelta(days=shortest_days)).replace(day=1)
        counts: dict[tuple[date, str], dict[str, int]] = {}
        for table in tables(connection, domain):
            for month, project_id, count in _months(connection, table, end):
                counts.setdefault((month, project_id), {})[table.relation] = count
        rows = connection.execute(
            _LIMITS,
            {"domain": domain, "keep_days": keep_days, "projects": sorted({project for _, project in counts})},
        ).fetchall()
        limits = {project_id: (days, is_held) for project_id, days, is_held in rows}
        held_months = {month for month, project_id in counts if limits[project_id][1]} if domain == "audit" else set()
        for (month, project_id), found in sorted(counts.items()):
            days, is_held = limits[project_id]
            if (today - next_month(month)).days >= days:
                reason = "is on legal hold" if is_held or month in held_months else None
                reason = reason or _reason_to_wait(connection, domain, project_id, month)
                units.append(Unit(domain, month, project_id, found, reason))
    return sorted(units, key=lambda unit: (unit.month, unit.domain, unit.project_id))


def apply(connection: psycopg.Connection[Any], folder: Path, units: Sequence[Unit], *, seconds: float) -> Outcome:
    """Archive and release what can go of ``units``, until ``seconds`` are over; the rest is for the next run.

    The connection acts as tracemill_maintenance in autocommit mode and holds the maintenance lock.
    """
    outcome = Outcome()
    deadline = time.monotonic() + seconds
    remove_superseded(connection, folder)
    ready = [unit for unit in units if unit.waits_because is None]
    for (month, domain), group in groupby(ready, key=lambda unit: (unit.month, unit.domain)):
        members = list(group)
        if time.monotonic() >= deadline:
            outcome.left += len(members)
            continue
        proven = [unit for unit in members if _archive(connection, folder, unit, outcome)]
        if domain == "audit" and len(proven) < sum((unit.month, unit.domain) == (month, domain) for unit in units):
            continue
        if proven:
            _release(connection, domain, month, [unit.project_id for unit in proven], outcome)
    remove_superseded(connection, folder)
    return outcome


def _days(connection: psycopg.Connection[Any], domain: str) -> tuple[int, int]:
    """The limit of projects without one of their own, and the shortest of any."""
    row = connection.execute(
        """
        select
            max(r.keep_days),
            least(max(r.keep_days), min(round((p.settings -> 'retention' ->> r.domain)::numeric)))::integer
        from ops.retention_rules as r
        left join app.project_config as p on p.settings -> 'retention' ? r.domain
        where r.domain = %s
        """,
        [domain],
    ).fetchone()
    assert row is not None  # noqa: S101 (an aggregate)
    return int(row[0]), int(row[1])


def _months(connection: psycopg.Connection[Any], table: Table, end: date) -> list[tuple[date, str, int]]:
    """Month, project and rows of what lies before ``end``."""
    query = sql.SQL(
        "select date_trunc('month', t.{time})::date, t.project_id, count(*) from {table} as t "
        "where t.{time} < {end} and isfinite(t.{time}) group by 1, 2"
    ).format(time=sql.Identifier(table.time_column), table=table.identifier, end=month_start(end))
    return connection.execute(query).fetchall()


def _reason_to_wait(connection: psycopg.Connection[Any], domain: str, project_id: str, month: date) -> str | None:
    row = connection.execute(
        _WAITING, {"domain": domain, "project": project_id, "first": month, "end": next_month(month)}
    ).fetchone()
    return row[0] if row else None


def _archive(connection: psycopg.Connection[Any], folder: Path, unit: Unit, outcome: Outcome) -> bool:
    try:
        for table in tables(connection, unit.domain):
            month = TableMonth(table, unit.project_id, unit.month)
            outcome.archived_rows += archive_month(connection, folder, month)
    except ArchiveError as error:
        outcome.problems.append(str(error))
        return False
    except OSError as error:
        problem = f"The archive in {folder} cannot be written ({error.strerror or error}): mend that, then try again."
        if problem not in outcome.problems:
            outcome.problems.append(problem)
        return False
    return True


def _release(
    connection: psycopg.Connection[Any], domain: str, month: date, projects: list[str], outcome: Outcome
) -> None:
    name = f"{domain} of {', '.join(projects)} in {month:%Y-%m}"
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            with connection.transaction():
                if domain not in AUDIT and not aggregation.hold_off(connection):
                    problem = "an aggregation is running"
                    continue
                released = connection.execute(
                    "select row_count, is_dropped from ops.release_archived_rows(%s, %s, %s)", [domain, month, projects]
                ).fetchall()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            problem = "another session keeps their tables locked"
        except (psycopg.errors.ObjectInUse, psycopg.errors.SerializationFailure) as error:
            problem = error.diag.message_primary or "they changed"
            break
        else:
            rows = sum(count for count, _ in released)
            dropped = sum(is_dropped for _, is_dropped in released)
            outcome.released_rows += rows
            outcome.dropped_partitions += dropped
            outcome.steps.append(f"archived and released {rows:,} rows: {name}")
            return
    outcome.problems.append(f"The {name} are archived but stay in the database until the next run: {problem}.")
