"""Warehouses with much history, and the night in each: dbt over the one new day."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import perf_counter

from dbt.cli.main import dbtRunner

from benchmarks.measure import fresh_database, say
from benchmarks.nightly.rows import Analytics
from benchmarks.nightly.rows import insert as insert_analytics
from pipelines.database import connect, embedded
from pipelines.maintenance import dbt
from pipelines.settings import Settings
from tests.raw_rows import Volume, insert, plan

NEW_DAY = date(2026, 10, 31)
DAYS = 60
PATTERNS = 400


@dataclass(frozen=True)
class NewDay:
    """What comes on the day after every history."""

    executions: int
    analytics: Analytics


@dataclass(frozen=True)
class Night:
    """One dbt build of the new day, in seconds."""

    models: float
    """Sum over the models: what the database does for the marts."""
    tests: float
    """Sum over the tests."""
    wall: float
    blocks: int
    """Blocks of 8 KiB that all statements touched, in memory or on disk: work that no load on the machine changes."""

    @property
    def work(self) -> float:
        """All that a night asks of the database."""
        return self.models + self.tests


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
        self.write_runs_again()
        with connect(self.dsn) as connection:
            connection.execute("select pg_stat_statements_reset()")
        with dbt.exported(dbt.environment(self.settings, self.dsn)):
            started = perf_counter()
            outcome = dbtRunner().invoke(["--quiet", "--no-use-colors", *dbt.NIGHTLY_BUILD])
            wall = perf_counter() - started
        if not outcome.success:
            raise RuntimeError(dbt.describe_failure(dbt.target(self.settings)))
        results = json.loads((dbt.target(self.settings) / "run_results.json").read_bytes())["results"]
        models = sum(r["execution_time"] for r in results if r["unique_id"].startswith("model."))
        return Night(models, sum(r["execution_time"] for r in results) - models, wall, self._touched_blocks())

    def write_runs_again(self) -> None:
        """The runs of the new day, as their writers do: a build makes anew only those written since the last one."""
        with connect(self.dsn) as connection:
            connection.execute(
                "update raw.optimization_runs set reported_tokens = reported_tokens + 1 where created_at >= %s",
                [datetime.combine(NEW_DAY, time.min, UTC)],
            )

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
            started = perf_counter()
            connection.execute(statement)
            return perf_counter() - started


def stored(home: Path, executions: int, days: int) -> Warehouse:
    """The warehouse of such a history on the server of ``home``, as ``make`` names it."""
    dsn = embedded.status(home).dsn(f"history_{executions}")
    # dbt keeps what it parsed by home, so each warehouse has its own.
    return Warehouse(executions, days, dsn, Settings(home / f"of_{executions}", dsn, None, (), device_id="benchmark"))


def make(home: Path, executions: int, days: int, analytics: Analytics, new_day: NewDay) -> Warehouse:
    """History without the new day, aggregated; then the raw rows of the new day."""
    warehouse = stored(home, executions, days)
    fresh_database(home, f"history_{executions}")
    first = NEW_DAY - timedelta(days=days)
    per_day = executions // days
    started = perf_counter()
    with connect(warehouse.dsn, autocommit=True) as connection:
        for number in range(days):
            insert(connection, Volume(first + timedelta(days=number), 1, per_day, patterns=PATTERNS))
        insert_analytics(connection, first, days, analytics.spread_over(days))
        insert(connection, Volume(NEW_DAY, 1, new_day.executions, patterns=PATTERNS), seed="new")
        insert_analytics(connection, NEW_DAY, 1, new_day.analytics, seed="new")
        connection.execute("vacuum analyze")
    say(f"{warehouse.name}: rows made in {perf_counter() - started:.0f} s")
    history = warehouse.night(tuple(first + timedelta(days=number) for number in range(days)))
    with connect(warehouse.dsn, autocommit=True) as connection:
        # A night through Dagster would take them along, as days that late data touched.
        connection.execute("delete from ops.touched_days")
        connection.execute("vacuum analyze")
    say(f"{warehouse.name}: history aggregated in {history.wall:.0f} s")
    return warehouse
