"""Night after night, every derived table is what a build from scratch would make of the raw rows.

One story: 36 days are built at once, a day follows, then an idle night on which late data has come for a day 20
days ago, where executions have also changed pattern, session and status. Small numbers, but every day enters,
stays in and some leave the 30-day window.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta

import psycopg
import pytest

from pipelines.database import connect
from pipelines.settings import Settings
from tests.marts import build, contents, differing, warehouse_environment
from tests.raw_rows import Volume, insert

FIRST = date(2026, 8, 1)
HISTORY = Volume(FIRST, days=36, executions_per_day=40, patterns=12, projects=2)
ENTERING = FIRST + timedelta(days=36)
IDLE = ENTERING + timedelta(days=1)
LATE = IDLE - timedelta(days=20)
OTHER_DOMAINS = (
    "--exclude",
    *(
        f"path:models/{layer}/{domain}+"
        for layer in ("intermediate", "marts")
        for domain in ("optimization", "evaluation")
    ),
)
TABLES = ("--select", "config.materialized:incremental", *OTHER_DOMAINS)


def change_old_executions(connection: psycopg.Connection) -> None:
    """What may still befall an old day: another status, pattern, session or time of its responses, rows less."""
    connection.execute(
        """
        with numbered as (
            select project_id, id, row_number() over (order by id) as n, min(session_id) over () as first_session
            from raw.command_executions
            where (timestamp at time zone 'UTC')::date = %s
        )
        update raw.command_executions as e
        set status = case when n < 5 then 'failed' else e.status end,
            pattern_signature = case when n between 5 and 9 then 'v1:/renamed' else e.pattern_signature end,
            session_id = case when e.session_id = first_session then 'moved' else e.session_id end
        from numbered
        where e.project_id = numbered.project_id and e.id = numbered.id and (n < 10 or e.session_id = first_session)
        """,
        [LATE],
    )
    # The responses of one execution turn out to be from the idle day, far from the command that owns them.
    moved = connection.execute(
        """
        update raw.model_requests set timestamp = timestamp + (%(idle)s::date - %(late)s::date) * interval '1 day'
        where execution_id = (
            select id from raw.command_executions
            where (timestamp at time zone 'UTC')::date = %(late)s and (ended_at at time zone 'UTC')::time < '22:00'
                and request_count > 0
            order by id
            limit 1
        )
        """,
        {"idle": IDLE, "late": LATE},
    )
    assert moved.rowcount == 3
    lost = connection.execute(
        "select id from raw.command_executions where (timestamp at time zone 'UTC')::date = %s order by 1 desc limit 3",
        [LATE],
    ).fetchall()
    keys = {"command_executions": "id", "model_requests": "execution_id", "tool_calls": "execution_id"}
    for table, key in keys.items():
        connection.execute(f"delete from raw.{table} where {key} = any(%s)", [[execution for (execution,) in lost]])


@pytest.mark.slow
def test_nights_and_late_data_leave_what_a_build_from_scratch_makes(dsn: str, settings: Settings):
    with warehouse_environment(settings, dsn), connect(dsn) as connection:
        insert(connection, HISTORY)
        build(connection, [FIRST + timedelta(days=n) for n in range(HISTORY.days)], *OTHER_DOMAINS)

        insert(connection, Volume(ENTERING, days=1, executions_per_day=40, patterns=12, projects=2))
        build(connection, [ENTERING], *OTHER_DOMAINS, command="run")
        before = contents(connection)

        insert(connection, Volume(LATE, days=1, executions_per_day=15, patterns=14, projects=2), seed="late")
        change_old_executions(connection)
        build(connection, [LATE, IDLE], *OTHER_DOMAINS)
        after = contents(connection)
        assert {
            "marts.daily_command_stats",
            "marts.command_patterns",
            "marts.session_summary",
            "intermediate.int_pattern_sketches",
            "intermediate.int_feature_sketches",
        } <= set(differing(before, after))
        window = connection.execute("select distinct window_start, window_end from marts.command_patterns").fetchall()
        assert window == [(IDLE - timedelta(days=29), IDLE)], "it ends with the last day covered, though that was idle"

        build(connection, [LATE, IDLE], *TABLES, command="run")
        assert differing(after, contents(connection)) == [], "the same days again change nothing"

        build(connection, [], *TABLES, command="run")
        assert differing(after, contents(connection)) == [], "an empty list changes nothing"

        with watched_for_unprotected_relations(dsn) as seen:
            build(connection, [IDLE], *OTHER_DOMAINS, "--full-refresh", "--vars", "{reconcile_all_days: true}")
        assert differing(after, contents(connection)) == [], "and neither does a build from scratch"
        assert_protected(connection)
        assert seen.looks > 100
        assert seen.unprotected == set(), "not even for a moment"


@dataclass
class Sightings:
    """What somebody who keeps looking at the catalogue has seen."""

    looks: int = 0
    unprotected: set[str] = field(default_factory=set)


@contextmanager
def watched_for_unprotected_relations(dsn: str) -> Iterator[Sightings]:
    """Looks, all the time, for relations that a tenant's role may read and that lack policies."""
    seen, stop = Sightings(), threading.Event()

    def look() -> None:
        with connect(dsn, autocommit=True) as connection:
            while not stop.wait(0.01):
                rows = connection.execute(
                    """
                    select c.oid::regclass::text
                    from pg_class as c
                    where c.relnamespace::regnamespace::text in ('staging', 'intermediate', 'marts', 'monitoring')
                        and c.relkind in ('r', 'v', 'm', 'p') and has_table_privilege('app_readonly', c.oid, 'select')
                        and not (c.relrowsecurity and c.relforcerowsecurity
                            and exists (select from pg_policy where polrelid = c.oid and polname = 'own_projects'))
                        and not (c.relkind = 'v' and coalesce('security_invoker=true' = any(c.reloptions), false))
                    """
                )
                seen.unprotected.update(name for (name,) in rows)
                seen.looks += 1

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


def assert_protected(connection: psycopg.Connection) -> None:
    """A full refresh swaps every table; policies, grants and forced row-level security must be there again."""
    rows = connection.execute(
        """
        select c.relname, c.relrowsecurity and c.relforcerowsecurity,
            (select array_agg(polname::text order by polname) from pg_policy where polrelid = c.oid),
            has_table_privilege('app_readonly', c.oid, 'select')
        from pg_class as c
        where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'v', 'm', 'p')
        """
    ).fetchall()
    assert len(rows) >= 9
    assert {(secured, tuple(policies), readable) for _, secured, policies, readable in rows} == {
        (True, ("own_projects", "platform_all"), True)
    }
