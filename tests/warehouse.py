"""What is in the raw tables, in a form that can be compared: without the moments at which rows were written."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import psycopg

from tests.oracle import Response

TABLES = ("command_executions", "model_requests", "tool_calls")
_MOMENTS = {"ingested_at", "updated_at"}


def responses(connection: psycopg.Connection) -> dict[tuple[str, str | None], Response]:
    """Stored API responses by (message id, request id)."""
    rows = connection.execute(
        "select message_id, request_id, model, input_tokens, cache_creation_tokens, cache_read_tokens, output_tokens "
        "from raw.model_requests where kind = 'response'"
    ).fetchall()
    found = {(row[0], row[1]): Response(*row[2:]) for row in rows}
    assert len(found) == len(rows), "a response is stored twice"
    return found


def tool_uses(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute("select tool_use_id from raw.tool_calls").fetchall()
    assert len(rows) == len(set(rows)), "a tool use is stored twice"
    return {row[0] for row in rows}


def executions_by_status(connection: psycopg.Connection) -> Counter[str]:
    """Executions whose command is in the logs."""
    return Counter(
        dict(
            connection.execute(
                "select status, count(*) from raw.command_executions where kind <> 'orphan' group by status"
            ).fetchall()
        )
    )


def tables(connection: psycopg.Connection) -> list[str]:
    """All raw tables, partitions apart."""
    query = "select relname from pg_class where relnamespace = 'raw'::regnamespace and relkind in ('r', 'p') order by 1"
    return [name for (name,) in connection.execute(query)]


def counts(connection: psycopg.Connection) -> dict[str, int]:
    """Number of rows of each raw table."""
    query = " union all ".join(f"select '{table}', count(*) from raw.{table}" for table in tables(connection))
    return dict(connection.execute(query).fetchall())


def everything(connection: psycopg.Connection, without: Collection[str] = ()) -> dict[str, list[str]]:
    """Every row of every raw table as text, sorted, leaving out the named columns."""
    return {
        table: [
            row
            for (row,) in connection.execute(
                f"select (to_jsonb(t) - %s::text[])::text as row from raw.{table} as t order by 1", [list(without)]
            )
        ]
        for table in tables(connection)
    }


def contents(connection: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the raw tables, sorted."""
    return {table: rows_of(connection, "raw", table, without=_MOMENTS) for table in TABLES}


def rows_of(
    connection: psycopg.Connection, schema: str, table: str, without: set[str] = frozenset()
) -> list[tuple[Any, ...]]:
    """All rows of one relation, sorted, leaving out the named columns."""
    columns = [
        row[0]
        for row in connection.execute(
            "select column_name from information_schema.columns where table_schema = %s and table_name = %s "
            "order by ordinal_position",
            [schema, table],
        )
        if row[0] not in without
    ]
    quoted = ", ".join(f'"{column}"' for column in columns)
    return sorted(connection.execute(f"select {quoted} from {schema}.{table}").fetchall(), key=repr)


def assert_totals_add_up(connection: psycopg.Connection) -> None:
    """The totals of every execution are those of the responses it owns, and every response has an owner."""
    wrong = connection.execute(
        """
        select e.id, e.total_tokens, e.cost_usd, r.total_tokens, r.cost_usd
        from (
            select project_id, id, total_tokens, cost_usd from raw.command_executions
        ) as e
        full join (
            select project_id, execution_id,
                sum(input_tokens + cache_creation_tokens + cache_read_tokens + output_tokens) as total_tokens,
                sum(cost_usd) as cost_usd
            from raw.model_requests
            group by project_id, execution_id
        ) as r on r.project_id = e.project_id and r.execution_id = e.id
        where e.id is null
            or e.total_tokens is distinct from coalesce(r.total_tokens, 0)
            or coalesce(e.cost_usd, 0) <> coalesce(r.cost_usd, 0)
        """
    ).fetchall()
    assert wrong == []
    duplicates = connection.execute(
        "select project_id, id from raw.command_executions group by 1, 2 having count(*) > 1 "
        "union all select project_id, null from raw.model_requests group by project_id, request_key having count(*) > 1"
    ).fetchall()
    assert duplicates == []
    for table in TABLES:
        (stray,) = connection.execute(f"select count(*) from partitions.{table}_default").fetchone()
        assert stray == 0, f"rows in the DEFAULT partition of {table}"
