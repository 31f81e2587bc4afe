"""Files of every format, read again, by four at once, or by an ingest that is killed: always what one ingest leaves."""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerProcess

import pytest

from pipelines import ingest
from pipelines.database import connect
from pipelines.settings import Settings
from tests import sample_files, warehouse

pytestmark = [pytest.mark.usefixtures("optional_readers"), pytest.mark.timeout(600)]

Databases = Callable[[], AbstractContextManager[str]]

_OF_THE_LOAD = {"ingested_at", "updated_at", "created_at", "source_file_key", "id", "diff_id"}
"""Columns that say when and as what a row was stored, not what it holds."""
_OF_LOGS = {"command_executions", "model_requests", "tool_calls"}
_CHILDREN = multiprocessing.get_context("forkserver")
_CHILDREN.set_forkserver_preload(["tests.faults.preloaded"])


@pytest.fixture(scope="module")
def optional_readers() -> None:
    for module in ("inspect_ai", "mlflow", "optuna"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'tracemill[inspect,mlflow]'")


def ingest_everything(sample: sample_files.EveryFormat, settings: Settings) -> ingest.IngestReport:
    dsn = settings.database_url or ""
    return ingest.run([sample.folder], dsn=dsn, settings=settings, storages=[sample.storage], jobs=1)


@dataclass(frozen=True)
class World:
    """The sample, and what one uninterrupted ingest makes of it."""

    sample: sample_files.EveryFormat
    settings: Settings
    rows: dict[str, list[str]]
    commits: int

    def on(self, dsn: str) -> "World":
        return replace(self, settings=replace(self.settings, database_url=dsn))

    @property
    def dsn(self) -> str:
        return self.settings.database_url or ""

    def ingest(self) -> ingest.IngestReport:
        return ingest_everything(self.sample, self.settings)

    def start(self) -> ForkServerProcess:
        """An ingest in a process of its own, at work at once."""
        process = _CHILDREN.Process(target=ingest_everything, args=(self.sample, self.settings))
        process.start()
        return process

    def stored(self) -> dict[str, list[str]]:
        with connect(self.dsn) as connection:
            return warehouse.everything(connection, without=_OF_THE_LOAD)

    def is_complete(self) -> None:
        assert self.stored() == self.rows
        with connect(self.dsn) as connection:
            self.sample.holds(connection)


COMMITS = "select count(distinct last_ingested_at) from ops.ingest_files where is_read_to_end"
"""Transactions that put files into the ledger: a batch of logs, a document or a storage each."""


def committed(dsn: str) -> int:
    """Transactions whose files the ledger says are in the warehouse."""
    with connect(dsn) as connection:
        ((count,),) = connection.execute(COMMITS).fetchall()
    return int(count)


def empty(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        tables = [f"raw.{table}" for table in warehouse.tables(connection)]
        others = ["ops.ingest_files", "ops.quarantined_records", "ops.touched_days", "ops.execution_aliases"]
        connection.execute(f"truncate {', '.join([*tables, *others])}")


@pytest.fixture(scope="module")
def world(migrated_database: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with migrated_database() as dsn:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"), database_url=dsn, reader_database_url=None, watched_folders=(),
            redaction_key="key of the tests",
        )  # fmt: skip
        sample = sample_files.write(tmp_path_factory.mktemp("samples"), log_bytes=150_000)
        once = World(sample, settings, {}, 0)
        process = once.start()
        process.join(timeout=120)
        assert process.exitcode == 0
        yield replace(once, rows=once.stored(), commits=committed(dsn))


def test_one_ingest_stores_what_the_files_and_the_storage_hold(world: World) -> None:
    world.is_complete()


def test_reading_everything_again_changes_nothing(world: World) -> None:
    """Not one column of one row, neither while the ledger knows the files nor when it has been lost."""
    with connect(world.dsn, autocommit=True) as connection:
        before = warehouse.everything(connection)
        report = world.ingest()
        assert report.problems == []
        assert set(+Counter(report.files_by_state)) == {"unchanged", "new"}
        assert report.files_by_state["new"] == 1, "a storage does not say what has changed"
        connection.execute("delete from ops.ingest_files")
        connection.execute("delete from ops.quarantined_records")
        report = world.ingest()
        assert {table: counts for table, counts in report.records.items() if counts.inserted or counts.updated} == {}
        assert warehouse.everything(connection) == before


def test_four_ingests_at_once_leave_what_one_leaves(world: World, dsn: str) -> None:
    here = world.on(dsn)
    processes = [here.start() for _ in range(4)]
    for process in processes:
        process.join(timeout=240)
    assert [process.exitcode for process in processes] == [0] * 4
    here.is_complete()


def kill_somewhere(world: World, draw: random.Random, *, waits_for_writing: bool) -> tuple[int, bool] | None:
    """Kills an ingest after a drawn number of commits and a moment more, unless it has no more than the last to do.

    One that ``waits_for_writing`` lets the ingest live until it is within a transaction.

    Returns how many commits there were when it died, and whether it was within a transaction; None when it has ended.
    """
    done = committed(world.dsn)
    process = world.start()
    if done >= world.commits - 1:
        process.join(timeout=120)
        assert process.exitcode == 0
        return None
    after = draw.randrange(done, world.commits - 1)
    working = f"""
        select ({COMMITS}), exists (
            select from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
                and application_name = 'tracemill'
        )
    """
    with connect(world.dsn, autocommit=True) as observer:
        while process.is_alive() and observer.execute(working).fetchone()[0] < after:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.08))
        _, is_within = observer.execute(working).fetchone()
        while waits_for_writing and not is_within and process.is_alive():
            _, is_within = observer.execute(working).fetchone()
        process.kill()
        process.join(timeout=30)
    if process.exitcode == 0:
        return None
    assert process.exitcode == -9
    return committed(world.dsn), is_within


def check_killed_ingests(world: World, kills: int) -> None:
    """However often an ingest is killed: each document is there whole or not at all, and the next one ends complete."""
    draw = random.Random(kills)
    points: list[tuple[int, bool]] = []
    while len(points) < kills:
        empty(world.dsn)
        while len(points) < kills:
            point = kill_somewhere(world, draw, waits_for_writing=len(points) % 2 == 0)
            if point is None:
                break
            points.append(point)
            for table, rows in world.stored().items():
                if table not in _OF_LOGS:
                    assert not Counter(rows) - Counter(world.rows[table]), f"half a document in {table} at {point}"
        if len(points) == kills:
            assert world.ingest().problems == []
        world.is_complete()
    in_the_middle = [count for count, _ in points if 0 < count < world.commits]
    assert len(in_the_middle) >= kills / 2, points
    assert sum(is_within for _, is_within in points) >= kills / 3, points


def test_an_ingest_killed_a_few_times_ends_as_if_it_had_not_been(world: World, dsn: str) -> None:
    check_killed_ingests(world.on(dsn), 6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_ingest_killed_at_fifty_points_ends_as_if_it_had_not_been(world: World, dsn: str) -> None:
    check_killed_ingests(world.on(dsn), 50)
