"""Warehouses with much history, and the night in each: dbt over the one new day."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from dbt.cli.main import dbtRunner

from benchmarks.measure import fresh_database, say
from pipelines.database import connect
from pipelines.maintenance import dbt
from pipelines.settings import Settings
from tests.raw_rows import Volume, insert, plan

NEW_DAY = date(2026, 10, 31)
DAYS = 60
WINDOW_DAYS = 30
PATTERNS = 400


@dataclass(frozen=True)
class Night:
    """One dbt build of the new day, in seconds."""

    models: float
    """Sum over the models: what the database does for the marts."""
    tests: float
    wall: float
    blocks: int
    """Blocks of 8 KiB that all statements touched, in memory or on disk: work that no load on the machine changes."""


@dataclass(frozen=True)
class Warehouse:
    """A history and the new day after it."""

    executions: int
    """Of the history."""
    days: int
    """Of the history."""
    dsn: str
    settings: Settings

    @property
    def name(self) -> str:
        return f"{self.executions / 1e6:g} M executions of {self.days} days"

    def night(self, days: tuple[date, ...] = (NEW_DAY,)) -> Night:
        """One build with its tests, in this process, as it does every night."""
        with connect(self.dsn) as connection:
            plan(connection, list(days))
            connection.execute("select pg_stat_statements_reset()")
            connection.commit()
        with dbt.exported(dbt.environment(self.settings, self.dsn)):
            started = time.perf_counter()
            outcome = dbtRunner().invoke(["--quiet", "--no-use-colors", "build"])
            wall = time.perf_counter() - started
        if not outcome.success:
            raise RuntimeError(dbt.describe_failure(dbt.target(self.settings)))
        results = json.loads((dbt.target(self.settings) / "run_results.json").read_bytes())["results"]
        models = sum(r["execution_time"] for r in results if r["unique_id"].startswith("model."))
        return Night(models, sum(r["execution_time"] for r in results) - models, wall, self._touched_blocks())

    def _touched_blocks(self) -> int:
        """Since the statistics were reset."""
        with connect(self.dsn) as connection:
            row = connection.execute(
                "select sum(shared_blks_hit + shared_blks_read + local_blks_hit + local_blks_read + temp_blks_read "
                "+ temp_blks_written)::bigint from pg_stat_statements "
                "where dbid = (select oid from pg_database where datname = current_database())"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def timed(self, statement: str) -> float:
        with connect(self.dsn, autocommit=True) as connection:
            started = time.perf_counter()
            connection.execute(statement)
            return time.perf_counter() - started


def make(home: Path, executions: int, new_executions: int, days: int = DAYS) -> Warehouse:
    """History without the new day, aggregated; then the raw rows of the new day."""
    dsn = fresh_database(home, f"history_{executions}")
    warehouse = Warehouse(
        executions,
        days,
        dsn,
        # dbt keeps what it parsed by home, so each warehouse has its own.
        Settings(home / f"of_{executions}", dsn, None, (), device_id="benchmark"),
    )
    first = NEW_DAY - timedelta(days=days)
    per_day = executions // days
    started = time.perf_counter()
    with connect(dsn, autocommit=True) as connection:
        for number in range(days):
            insert(connection, Volume(first + timedelta(days=number), 1, per_day, patterns=PATTERNS))
        insert(connection, Volume(NEW_DAY, 1, new_executions, patterns=PATTERNS), seed="new")
        connection.execute("vacuum analyze")
    say(f"{warehouse.name}: rows made in {time.perf_counter() - started:.0f} s")
    history = warehouse.night(tuple(first + timedelta(days=number) for number in range(days)))
    say(f"{warehouse.name}: history aggregated in {history.wall:.0f} s")
    return warehouse


_WINDOW = f"timestamp >= '{NEW_DAY - timedelta(days=WINDOW_DAYS - 1)}' and timestamp < '{NEW_DAY + timedelta(days=1)}'"
_EXACT = f"""
select project_id, pattern_signature,
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by total_tokens) as tokens,
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by execution_time_ms) as durations,
    percentile_cont(array[0.5, 0.95, 0.99]) within group (order by cost_usd::double precision) as costs
from raw.command_executions
where {_WINDOW}
group by project_id, pattern_signature
"""


def exact_percentiles(warehouse: Warehouse) -> float:
    """Nothing but the quantiles of the window, computed exactly: one part of what a night makes."""
    return warehouse.timed(f"create temporary table exact as {_EXACT}")


def materialized_view(warehouse: Warehouse) -> Callable[[], float]:
    """The same as a materialized view that is refreshed while it can be read."""
    warehouse.timed(f"create materialized view public.exact as {_EXACT}")
    warehouse.timed("create unique index on public.exact (project_id, pattern_signature)")
    return lambda: warehouse.timed("refresh materialized view concurrently public.exact")


def duckdb_percentiles(warehouse: Warehouse, folder: Path) -> Callable[[], float] | None:
    """The same in DuckDB over a table of its own, its loading not counted; None when it is not installed."""
    try:
        import duckdb
    except ImportError:
        return None
    rows = folder / f"{warehouse.executions}.csv"
    columns = "project_id, pattern_signature, timestamp, total_tokens, execution_time_ms, cost_usd"
    query = f"copy (select {columns} from raw.command_executions) to stdout (format csv, header)"
    with (
        connect(warehouse.dsn) as connection,
        rows.open("wb") as file,
        connection.cursor() as cursor,
        cursor.copy(query) as copy,
    ):
        file.writelines(copy)
    database = duckdb.connect()
    database.execute(f"create table executions as from read_csv('{rows}')")

    def run() -> float:
        started = time.perf_counter()
        database.execute(
            "select project_id, pattern_signature, quantile_cont(total_tokens, [0.5, 0.95, 0.99]), "
            "quantile_cont(execution_time_ms, [0.5, 0.95, 0.99]), quantile_cont(cost_usd, [0.5, 0.95, 0.99]) "
            f"from executions where {_WINDOW} group by all"
        ).fetchall()
        return time.perf_counter() - started

    return run
