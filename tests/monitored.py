"""A warehouse with ten days of steady work up to this hour, built by dbt: nothing in it is wrong but one day's cost.

Every project has one execution an hour that costs 1 USD; ``spender`` paid 500 USD more today, which tells of itself on
this day and the next: tests may begin before midnight and end after it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pipelines.settings import Settings
from tests.marts import build, warehouse_environment

PROJECTS = ("alpha", "beta", "spender")
DAYS = 10
SPIKE = "cost_spike:spender:"
"""Begin of the key of the only alert that fires from the start."""

_PROJECTS = "insert into app.project_config (project_id, display_name) select p, p from unnest(%s::text[]) as p"

_EXECUTIONS = """
insert into raw.command_executions (
    project_id, id, timestamp, kind, command_raw, command_base, pattern_signature, session_id, device_id, sources,
    source_file_key, source_line, ended_at, status, status_reason, request_count, cost_usd
)
select
    project_id, gen_random_uuid(), at, 'slash', '/work', '/work', 'v1:/work', 'session', 'device', array['claude_code'],
    'file', 1, at, %(status)s, %(status)s, 1, 1
from unnest(%(projects)s::text[]) as project_id
cross join generate_series(%(first)s::timestamptz, %(last)s, %(step)s::interval) as at
returning project_id, id, timestamp
"""

_REQUESTS = """
insert into raw.model_requests (
    project_id, request_key, timestamp, message_id, session_id, execution_id, model, input_tokens, input_cost_usd,
    cost_usd, cost_status, source, source_file_key, source_offset
)
select project_id, id || ':' || %(usd)s, timestamp, id::text, 'session', id, 'model', 10, %(usd)s, %(usd)s, 'computed',
    'claude_code', 'file', 0
from raw.command_executions
where project_id = any(%(projects)s) and timestamp between %(first)s and %(last)s
"""


def fill(connection: psycopg.Connection, settings: Settings, dsn: str) -> None:
    """Insert the rows and build every mart and view."""
    now = datetime.now(UTC)
    begin = now - timedelta(days=DAYS)
    connection.execute("select ops.ensure_month_partitions(%s, %s)", [begin.date(), now.date() + timedelta(days=93)])
    connection.execute(_PROJECTS, [list(PROJECTS)])
    add_executions(connection, PROJECTS, "completed", begin, now, "1 hour")
    work = {"projects": list(PROJECTS), "first": begin, "last": now, "usd": 1}
    connection.execute(_REQUESTS, work)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today = {"projects": ["spender"], "first": midnight, "last": now}
    (hours,) = connection.execute(
        "select count(*) from raw.command_executions "
        "where project_id = any(%(projects)s) and timestamp between %(first)s and %(last)s",
        today,
    ).fetchone()
    connection.execute(_REQUESTS, {**today, "usd": 500 / hours})
    connection.commit()
    with warehouse_environment(settings, dsn):
        build(connection, [(begin + timedelta(days=n)).date() for n in range(DAYS + 1)], command="run")
    connection.execute("delete from ops.aggregation_days")
    connection.execute(
        "insert into ops.refresh_log (started_at, finished_at, status) values (now(), now(), 'succeeded')"
    )
    connection.commit()


def add_executions(
    connection: psycopg.Connection, projects: tuple[str, ...], status: str, first: datetime, last: datetime, step: str
) -> int:
    """Executions from ``first`` on, one every ``step``; how many."""
    values = {"projects": list(projects), "status": status, "first": first, "last": last, "step": step}
    return connection.execute(_EXECUTIONS, values).rowcount


@contextmanager
def acting_as(connection: psycopg.Connection, role: str, project: str | None = None) -> Iterator[None]:
    """What follows is asked as ``role``, with a token for ``project`` when given; undone afterwards."""
    with connection.transaction():
        token = project and connection.execute("select app.open_session(%s)", [project]).fetchone()[0]
        connection.execute(
            "select set_config('app.token', %s, true), set_config('role', %s, true)", [token or "", role]
        )
        yield
        connection.execute("select set_config('role', 'none', true), set_config('app.token', '', true)")


def rows(connection: psycopg.Connection, view: str, condition: str = "true") -> list[dict[str, Any]]:
    """Rows of a monitoring view as an operator sees them."""
    with acting_as(connection, "tracemill_owner"), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(f"select * from monitoring.{view} where {condition}").fetchall()


def alerts(connection: psycopg.Connection) -> Mapping[str, dict[str, Any]]:
    """What fires beside the cost spike that is there from the start, by key."""
    return {row["alert_key"]: row for row in rows(connection, "v_alerts") if not row["alert_key"].startswith(SPIKE)}
