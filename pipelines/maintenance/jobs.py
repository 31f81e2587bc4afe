"""The maintenance jobs by name, alike for the command line and for Dagster.

A job first plans, which changes nothing and is what a person sees by default. Applied, it works for a bounded time,
leaves the rest for its next run, and writes what it did to ``ops.maintenance_log``. All are safe to repeat, to run
twice at once (the second waits) and to kill.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from pipelines.database import connect
from pipelines.maintenance import dagster_events, partitions, retention, vacuum
from pipelines.maintenance.dagster_home import dagster_database
from pipelines.maintenance.lock import maintenance_lock
from pipelines.settings import Settings

ROLE = "tracemill_maintenance"

_WAIT_SECONDS = 600.0
_RETENTION_SECONDS = 3600.0


@dataclass(frozen=True)
class Report:
    """What a job would do, or did."""

    job: str
    applied: bool
    steps: list[str] = field(default_factory=list)
    """One sentence each."""
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What could not be done, one sentence each."""


@dataclass(frozen=True)
class _Context:
    settings: Settings
    dsn: str
    connection: psycopg.Connection[Any]
    """As tracemill_maintenance, in autocommit mode."""
    moment: datetime
    applies: bool


def run(
    job: str,
    settings: Settings,
    dsn: str,
    *,
    applies: bool,
    moment: datetime | None = None,
    wait_seconds: float = _WAIT_SECONDS,
) -> Report:
    """Plan ``job`` as of ``moment`` (now), and carry the plan out when it ``applies``.

    Raises MaintenanceBusyError when another job does not end within ``wait_seconds``; psycopg.Error.
    """
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    with connect(dsn, role=ROLE, autocommit=True) as connection:
        context = _Context(settings, dsn, connection, moment, applies)
        if not applies:
            return JOBS[job](context)
        with maintenance_lock(connection, wait_seconds):
            return _logged(job, context)


def _logged(job: str, context: _Context) -> Report:
    connection = context.connection
    connection.execute(
        "update ops.maintenance_log set status = 'failed', finished_at = clock_timestamp(), "
        "problems = '[\"The process ended before the job did.\"]' where status = 'running'"
    )
    row = connection.execute("insert into ops.maintenance_log (job) values (%s) returning log_id", [job]).fetchone()
    report = Report(job, applied=True)
    error: BaseException | None = None
    try:
        report = JOBS[job](context)
    except BaseException as raised:
        error = raised
        raise
    finally:
        if not connection.closed:
            connection.execute(
                """
                update ops.maintenance_log
                set finished_at = clock_timestamp(), status = %s, counts = %s, steps = %s, problems = %s
                where log_id = %s
                """,
                [
                    "failed" if error or report.problems else "succeeded",
                    json.dumps(report.counts),
                    json.dumps(report.steps),
                    json.dumps(report.problems + ([str(error) or type(error).__name__] if error else [])),
                    row[0] if row else None,
                ],
            )
    return report


def _maintain_partitions(context: _Context) -> Report:
    today = context.moment.date()
    plan = partitions.plan(context.connection, today)
    steps = [f"make the partition {name}" for name in plan.missing]
    counts = {"missing_partitions": len(plan.missing), "stray_rows": sum(rows.row_count for rows in plan.stray)}
    with connect(context.dsn, role="tracemill_owner", autocommit=True) as owner:
        if not context.applies:
            tasks = vacuum.plan(owner)
            steps += [f"{rows}: move them" for rows in plan.stray] + [str(task) for task in tasks]
            return Report("maintain_partitions", False, steps, counts)
        moved, problems = partitions.adopt(context.connection, plan.stray)
        made, not_made = partitions.make_ahead(context.connection, today, plan.last_month)
        tasks = vacuum.plan(owner)
        vacuum.apply(owner, tasks)
    counts |= {"made_partitions": made, "vacuumed_or_analyzed": len(tasks)}
    return Report("maintain_partitions", True, [*steps, *moved, *map(str, tasks)], counts, problems + not_made)


def _apply_retention(context: _Context) -> Report:
    return _retain("apply_retention", context, retention.DOMAINS)


def _cleanup_audit_log(context: _Context) -> Report:
    return _retain("cleanup_audit_log", context, retention.AUDIT)


def _retain(job: str, context: _Context, domains: tuple[str, ...]) -> Report:
    units = retention.plan(context.connection, domains, context.moment.date())
    waiting = [str(unit) for unit in units if unit.waits_because]
    counts = {"months_due": len(units) - len(waiting), "months_waiting": len(waiting)}
    if not context.applies:
        return Report(job, False, [str(unit) for unit in units], counts)
    done = retention.apply(context.connection, context.settings.archive, units, seconds=_RETENTION_SECONDS)
    counts |= {
        "archived_rows": done.archived_rows,
        "released_rows": done.released_rows,
        "dropped_partitions": done.dropped_partitions,
        "months_left": done.left,
    }
    return Report(job, True, [*done.steps, *waiting], counts, done.problems)


def _purge_dagster_events(context: _Context) -> Report:
    database = dagster_database(context.connection.info.dbname)
    try:
        opened = connect(make_conninfo(context.dsn, dbname=database), autocommit=True)
    except psycopg.OperationalError as error:
        if "does not exist" in str(error):
            return Report("purge_dagster_events", context.applies, [f"Dagster has no database {database} yet"])
        raise
    with opened as connection:
        work = dagster_events.apply if context.applies else dagster_events.plan
        counts = dataclasses.asdict(work(connection, context.moment))
    verb = "deleted" if context.applies else "delete"
    before = (context.moment - dagster_events.KEEP).date()
    steps = [f"{verb} {count:,} {kind} of before {before}" for kind, count in counts.items() if count]
    return Report("purge_dagster_events", context.applies, steps, counts)


JOBS: dict[str, Callable[[_Context], Report]] = {
    "maintain_partitions": _maintain_partitions,
    "apply_retention": _apply_retention,
    "cleanup_audit_log": _cleanup_audit_log,
    "purge_dagster_events": _purge_dagster_events,
}
