"""Building the marts in tests: dbt in this process, so that only the first build pays for its start."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import pandas as pd
import psycopg
from dbt.cli.main import dbtRunner
from dbt_common.events.base_types import EventLevel, EventMsg

from pipelines.maintenance import dbt
from pipelines.settings import Settings
from tests.raw_rows import plan
from tests.warehouse import rows_of

DERIVED_SCHEMAS = ("intermediate", "marts")


@contextmanager
def warehouse_environment(settings: Settings, dsn: str) -> Iterator[None]:
    """The variables with which dbt works on this database, for the length of the block."""
    with dbt.exported(dbt.environment(settings, dsn)):
        yield


def build(connection: psycopg.Connection, days: list[date], *arguments: str, command: str = "build") -> None:
    """One dbt invocation with exactly these days on the list; fails with what dbt says failed or warns of.

    As in a night, unit tests are no part of ``build``: no data changes what they say.
    """
    warnings: list[str] = []

    def note(event: EventMsg) -> None:
        if event.info.level == EventLevel.WARN:
            warnings.append(event.info.msg)

    plan(connection, days)
    connection.commit()
    words = dbt.NIGHTLY_BUILD if command == "build" else (command,)
    result = dbtRunner(callbacks=[note]).invoke(["--quiet", "--no-use-colors", *words, *arguments])
    failed = [
        f"{outcome.node.name}: {outcome.message}"
        for outcome in (result.result or [])
        if outcome.status in ("error", "fail", "skipped")
    ]
    assert result.success, failed or result.exception
    assert warnings == []


def frame(connection: psycopg.Connection, query: str) -> pd.DataFrame:
    """The rows of a query, money as floats."""
    cursor = connection.execute(query)
    assert cursor.description is not None
    found = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])
    for column in found.columns:
        if column.endswith("_usd"):
            found[column] = found[column].astype("float64")
    return found


def contents(connection: psycopg.Connection) -> dict[str, list[tuple]]:
    """Every row of every derived table, sorted."""
    tables = connection.execute(
        "select schemaname, tablename from pg_tables where schemaname = any(%s) order by 1, 2", [list(DERIVED_SCHEMAS)]
    ).fetchall()
    found = {f"{schema}.{table}": rows_of(connection, schema, table) for schema, table in tables}
    connection.rollback()
    assert any(name.startswith("marts.") for name in found)
    return found


def differing(one: dict[str, list[tuple]], other: dict[str, list[tuple]]) -> list[str]:
    """Names of the tables that differ."""
    return [table for table in sorted({*one, *other}) if one.get(table) != other.get(table)]
