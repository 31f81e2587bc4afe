"""One batch into the raw tables: COPY into staging tables, then set-based SQL, in the caller's transaction.

The SQL lies beside this module, one file a step, run in order. A lock per project, held until commit, keeps
identity: whoever merges sees everything that others have committed before. Copying needs no lock and comes first.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from pipelines.ingest.prices import ModelPrice
from pipelines.ingest.report import TableCounts
from pipelines.ingest.rows import Row, StagedRows

_SQL = Path(__file__).parent / "sql"

_ANY_REPORT = (
    "select from staged_executions where reported_usage is not null "
    "union all select from known_executions where reported_usage is not null limit 1"
)
_ANY_RUN_WITHOUT_MESSAGES = """
select
from execution_targets as x
inner join staged_executions as s on x.project_id = s.project_id and x.id = s.id
where x.is_new and s.kind = 'run' and not exists(
    select from staged_requests as r where r.project_id = s.project_id and r.execution_id = s.id
)
union all
select
from (
    select s.project_id, array_agg(distinct s.session_id) as session_ids
    from execution_targets as x
    inner join staged_executions as s on x.project_id = s.project_id and x.id = s.id
    where x.is_new and s.kind in ('prompt', 'slash', 'run')
    group by s.project_id
) as k
cross join lateral (
    select
    from raw.command_executions as e
    where e.project_id = k.project_id and e.session_id = any(k.session_ids) and e.kind = 'run' and e.request_count = 0
    offset 0
) as e
limit 1
"""
_LOCK = "select pg_advisory_xact_lock(hashtextextended('tracemill.project.' || %s, 0))"


def prepare(connection: psycopg.Connection[Any], device_id: str) -> None:
    """Makes the session's staging tables; to be called once per connection, outside the batch's transaction."""
    connection.execute("set temp_buffers = '32MB'")
    connection.execute(_statements("stage"))
    connection.execute("select set_config('app.device_id', %s, false)", [device_id])
    connection.execute("set jit = off")
    connection.commit()


def ensure_partitions(connection: psycopg.Connection[Any], staged: StagedRows) -> None:
    """Makes the monthly partitions that the batch needs."""
    if staged.first_at is not None and staged.last_at is not None:
        tables = ("command_executions", "model_requests", "tool_calls")
        make_partitions(connection, tables, staged.first_at.date(), staged.last_at.date())


def make_partitions(
    connection: psycopg.Connection[Any], tables: Iterable[str], first_day: date, last_day: date
) -> None:
    """Makes the monthly partitions of these days and of three months ahead.

    In a transaction a table: one that holds the lock of a table while it waits for another's could wait for a reader
    that waits for it.
    """
    for table in tables:
        connection.execute(
            "select ops.ensure_table_partitions(%s, %s, greatest(%s, (current_date + interval '3 months')::date))",
            [[table], first_day, last_day],
        )
        connection.commit()


def keep_partitions(connection: psycopg.Connection[Any]) -> None:
    """Until this transaction ends nobody makes a partition; to be called before it touches any table.

    For tables that refer to partitioned ones: a new partition locks both, in an order of its own, so that a writer
    of both could wait for it while it waits for the writer.
    """
    connection.execute("select pg_advisory_xact_lock_shared(hashtextextended('tracemill.partitions', 0))")


def store_prices(connection: psycopg.Connection[Any], price_rows: Sequence[ModelPrice]) -> None:
    """Keeps the prices, in a transaction of its own; an older price list makes way, costs already stored stay."""
    if price_rows:
        connection.execute(
            "delete from app.model_prices where model = any(%s) and price_version <> all(%s)",
            [[row.model for row in price_rows], [row.price_version for row in price_rows]],
        )
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in ModelPrice.__struct_fields__)
        values = sql.SQL(", ").join(sql.Placeholder() for _ in ModelPrice.__struct_fields__)
        connection.cursor().executemany(
            sql.SQL("insert into app.model_prices ({}) values ({}) on conflict do nothing").format(columns, values),
            [msgspec.structs.astuple(row) for row in sorted(price_rows, key=lambda row: row.model)],
        )
    connection.commit()


def merge(connection: psycopg.Connection[Any], staged: StagedRows) -> tuple[dict[str, TableCounts], set[str]]:
    """Merges the batch; returns what happened per table and the keys of the lines newly put into quarantine."""
    _copy(connection, "staged_executions", staged.executions)
    _copy(connection, "staged_requests", staged.requests)
    _copy(connection, "staged_tool_calls", staged.tool_calls)
    if project_ids := {row[0] for rows in (staged.executions, staged.requests, staged.tool_calls) for row in rows}:
        lock_projects(connection, project_ids)
        connection.execute(_statements("match"))
        if connection.execute(_ANY_RUN_WITHOUT_MESSAGES).fetchone() is not None:
            connection.execute(_statements("match_runs"))
        for step in ("keep_targets", "find_owners", "merge_requests", "merge_tool_calls", "find_executions"):
            connection.execute(_statements(step))
        if connection.execute(_ANY_REPORT).fetchone() is not None:
            connection.execute(_statements("settle_remainders"))
        connection.execute(_statements("total_executions"))
        connection.execute(_statements("merge_executions"))
    quarantined = keep_bad_lines(connection, staged.bad_lines)
    counts: dict[str, TableCounts] = {}
    for table, outcome, rows in connection.execute("select table_name, outcome, row_count from merge_counts"):
        setattr(counts.setdefault(table, TableCounts()), outcome, rows)
    return counts, quarantined


def lock_projects(connection: psycopg.Connection[Any], project_ids: Iterable[str]) -> None:
    """Makes other writers of these projects wait until this transaction ends; in one order for all."""
    for project_id in sorted(set(project_ids)):
        connection.execute(_LOCK, [project_id])


def keep_bad_lines(connection: psycopg.Connection[Any], bad_lines: Sequence[Row]) -> set[str]:
    """Puts the lines into quarantine; returns the keys of those that were not there."""
    if not bad_lines:
        return set()
    _copy(connection, "staged_bad_lines", bad_lines)
    return {row[0] for row in connection.execute(_statements("keep_bad_lines"))}


def _copy(connection: psycopg.Connection[Any], table: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    with connection.cursor() as cursor, cursor.copy(f"copy {table} from stdin") as copy:
        for row in rows:
            copy.write_row(row)


@cache
def _statements(step: str) -> bytes:
    return (_SQL / f"{step}.sql").read_bytes()
