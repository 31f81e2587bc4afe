"""Exact ways of computing the quantiles that a night keeps: one part of what it makes, over the same rows."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from benchmarks.nightly.warehouses import NEW_DAY, Warehouse
from pipelines.database import connect

WINDOW_DAYS = 30

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
    warehouse.timed("drop materialized view if exists public.exact")
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
