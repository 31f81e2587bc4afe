"""Which days an aggregation rebuilds: a work list in the database, so that no crash can lose a day.

Protocol. ``plan`` takes the aggregation lock, puts the days asked for and every day in ``ops.touched_days`` on the
list ``ops.aggregation_days``, and remembers when each was touched. A day of which rows are away in the archive never
gets on the list: its marts would forget them (pipelines.maintenance.restore brings them back first). dbt then
rebuilds the days on the list, each in one transaction of its model. ``complete`` clears the list and forgets exactly
the touches that were remembered: a day touched again in the meantime stays pending. ``fail``, or a process that dies,
leaves list and touches as they are, so the next aggregation takes those days along. While the marts do not exist, dbt
builds every day there is.

Requests in ``ops.refresh_requests`` are treated alike: a build of the marts they ask for takes those that wait, and
they are gone when it is complete.

The lock belongs to the connection: keep the same one from ``plan`` to ``complete``, and use it for nothing else.
"""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.rows import class_row

FIRST_DAY = date(2025, 1, 1)
"""First day that can be asked for: coding agents began to write these logs in early 2025. Days before it are
aggregated when data touch them."""

NEARBY = timedelta(days=7)
"""Work that a command started may go on for days: a month this near a day has rows that the day's build reads."""

_LOCK = 5_871_093_266_410_775_113
"""Key of the advisory lock; any number will do as long as it never changes."""
_POLL_SECONDS = 1.0
_LONGEST_DETAIL = 4000


class AggregationBusyError(Exception):
    """Another aggregation is running; the message is a sentence for the user."""


class Scope(StrEnum):
    """Which marts an aggregation builds, and so what it may forget."""

    ALL = "all"
    ANALYTICS = "analytics"
    """Those of optimization and evaluation: touched days are rebuilt, and kept for the other marts."""
    SOME = "some"
    """Some, picked by hand: for the days asked for only."""


@dataclass(frozen=True)
class TouchedDay:
    """One row of ops.touched_days as it was when the aggregation was planned."""

    project_id: str
    activity_date: date
    touched_at: datetime


@dataclass(frozen=True)
class Plan:
    """What one aggregation covers, as promised to ``complete``."""

    refresh_id: int
    """Row of ops.refresh_log."""
    days: tuple[date, ...]
    """Every day on the list, in order; not only those of this plan."""
    touched: tuple[TouchedDay, ...]
    """Touches that are forgotten when the aggregation is complete."""
    added: tuple[date, ...]
    """Days that this plan put on the list."""
    skipped: tuple[date, ...]
    """Days that were asked for or touched, but have rows that only the archive holds: they are not built, and days
    that were touched stay pending."""
    requests: tuple[int, ...]
    """Rows of ops.refresh_requests that this aggregation answers."""
    scope: Scope


def plan(
    connection: psycopg.Connection[Any],
    first: date | None,
    last: date | None,
    *,
    scope: Scope = Scope.ALL,
    wait_seconds: float = 0,
) -> Plan:
    """Put the days from ``first`` to ``last`` (None: none) and all touched days on the list, and take the lock.

    Raises AggregationBusyError when another aggregation has not ended after ``wait_seconds``.
    """
    _take_lock(connection, wait_seconds)
    try:
        with connection.transaction():
            return _plan(connection, first, last, scope)
    except BaseException:
        _release_lock(connection)
        raise


def _plan(connection: psycopg.Connection[Any], first: date | None, last: date | None, scope: Scope) -> Plan:
    connection.execute(
        """
        update ops.refresh_log
        set status = 'failed', finished_at = clock_timestamp(), detail = 'The process ended before the aggregation did.'
        where status = 'running'
        """
    )
    touched: list[TouchedDay] = []
    requests: list[tuple[int]] = []
    if scope is not Scope.SOME:
        with connection.cursor(row_factory=class_row(TouchedDay)) as cursor:
            touched = cursor.execute("select project_id, activity_date, touched_at from ops.touched_days").fetchall()
        requests = connection.execute(
            "update ops.refresh_requests set taken_at = clock_timestamp() returning request_id"
        ).fetchall()
    wanted = {day.activity_date for day in touched} | set(_days(first, last))
    away = _months_away(connection)
    skipped = {day for day in wanted if is_near(day, away)}
    added = connection.execute(
        """
        insert into ops.aggregation_days (activity_date)
        select unnest(%s::date[])
        on conflict do nothing
        returning activity_date
        """,
        [sorted(wanted - skipped)],
    ).fetchall()
    days = [day for (day,) in connection.execute("select activity_date from ops.aggregation_days order by 1")]
    row = connection.execute(
        """
        insert into ops.refresh_log (started_at, first_date, last_date, day_count, scope)
        values (clock_timestamp(), %s, %s, %s, %s)
        returning refresh_id
        """,
        [min(days, default=None), max(days, default=None), len(days), scope],
    ).fetchone()
    assert row is not None  # noqa: S101 (an insert that returns)
    return Plan(
        refresh_id=row[0],
        days=tuple(days),
        touched=tuple(day for day in touched if scope is Scope.ALL and day.activity_date not in skipped),
        added=tuple(sorted(day for (day,) in added)),
        skipped=tuple(sorted(skipped)),
        requests=tuple(request for (request,) in requests),
        scope=scope,
    )


def _days(first: date | None, last: date | None) -> list[date]:
    if first is None or last is None:
        return []
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _months_away(connection: psycopg.Connection[Any]) -> frozenset[date]:
    rows = connection.execute(
        """
        select distinct m.month
        from ops.archived_months as m
        join ops.retention_rules as r on r.relation = m.relation
        where m.released_at is not null and r.domain <> 'audit'
        """
    )
    return frozenset(month for (month,) in rows)


def is_near(day: date, months: Collection[date]) -> bool:
    """Whether building ``day`` needs rows of one of ``months`` (first days)."""
    return any(near.replace(day=1) in months for near in (day - NEARBY, day, day + NEARBY))


def days_near_archive(
    connection: psycopg.Connection[Any], requested: tuple[date, date] | None, *, with_touched: bool
) -> tuple[date, ...]:
    """Days that an aggregation would skip, because archived rows of theirs have to come back first."""
    away = _months_away(connection)
    if not away:
        return ()
    days = set(_days(*requested)) if requested else set()
    if with_touched:
        days |= {day for (day,) in connection.execute("select distinct activity_date from ops.touched_days")}
    return tuple(sorted(day for day in days if is_near(day, away)))


def hold_off(connection: psycopg.Connection[Any]) -> bool:
    """Keep aggregations from starting until the transaction ends; False when one is running."""
    row = connection.execute("select pg_try_advisory_xact_lock(%s)", [_LOCK]).fetchone()
    return bool(row and row[0])


def complete(connection: psycopg.Connection[Any], plan: Plan) -> None:
    """The marts hold what ``plan`` covers: take its days off the list, log success, release the lock."""
    with connection.transaction():
        connection.execute(
            """
            delete from ops.touched_days as t
            using unnest(%s::text[], %s::date[], %s::timestamptz[]) as done (project_id, activity_date, touched_at)
            where t.project_id = done.project_id
                and t.activity_date = done.activity_date
                and t.touched_at = done.touched_at
            """,
            [
                [day.project_id for day in plan.touched],
                [day.activity_date for day in plan.touched],
                [day.touched_at for day in plan.touched],
            ],
        )
        connection.execute(
            "delete from ops.aggregation_days where activity_date = any(%s)",
            [list(plan.days if plan.scope is Scope.ALL else plan.added)],
        )
        connection.execute("delete from ops.refresh_requests where request_id = any(%s)", [list(plan.requests)])
        _log_end(connection, plan, "succeeded", None)
    _release_lock(connection)


def fail(connection: psycopg.Connection[Any], plan: Plan, detail: str) -> None:
    """Log why the aggregation failed and release the lock; its days stay pending."""
    with connection.transaction():
        _log_end(connection, plan, "failed", detail[:_LONGEST_DETAIL])
    _release_lock(connection)


@contextmanager
def recorded(connection: psycopg.Connection[Any], plan: Plan) -> Iterator[None]:
    """``complete`` when the block ends well, ``fail`` with the error's words when it does not."""
    try:
        yield
    except BaseException as error:
        fail(connection, plan, str(error) or type(error).__name__)
        raise
    complete(connection, plan)


def _log_end(connection: psycopg.Connection[Any], plan: Plan, status: str, detail: str | None) -> None:
    connection.execute(
        "update ops.refresh_log set status = %s, detail = %s, finished_at = clock_timestamp() where refresh_id = %s",
        [status, detail, plan.refresh_id],
    )


def _take_lock(connection: psycopg.Connection[Any], wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while not _try_lock(connection):
        if time.monotonic() >= deadline:
            raise AggregationBusyError(
                "Another aggregation is running in this database; wait for it to end, then start yours again."
            )
        time.sleep(_POLL_SECONDS)


def _try_lock(connection: psycopg.Connection[Any]) -> bool:
    with connection.transaction():
        row = connection.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        return bool(row and row[0])


def _release_lock(connection: psycopg.Connection[Any]) -> None:
    if not connection.closed:
        with connection.transaction():
            connection.execute("select pg_advisory_unlock(%s)", [_LOCK])
