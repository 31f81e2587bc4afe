"""A retention that is killed with SIGKILL, at any point, loses no row, and the next run completes it."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

import pyarrow.parquet
import pytest

from pipelines.database import connect
from pipelines.maintenance import jobs, restore
from pipelines.maintenance.lock import maintenance_lock
from pipelines.settings import Settings
from tests import history
from tests.killing import Workers, workers

KEYS = {"command_executions": "id", "model_requests": "request_key", "tool_calls": "tool_use_id"}

_PREPARATION = """
from datetime import datetime
from pipelines import settings
from pipelines.maintenance import jobs

def retain():
    current, moment = settings.load(), datetime.fromisoformat("{moment}")
    return not jobs.run("apply_retention", current, current.database_url, applies=True, moment=moment).problems
"""


@pytest.fixture
def retentions(settings: Settings) -> Iterator[Workers]:
    environment = {"TRACEMILL_DATABASE_URL": settings.database_url or "", "TRACEMILL_HOME": str(settings.home)}
    with workers(_PREPARATION.format(moment=history.MOMENT.isoformat()), "retain()", environment) as made:
        yield made


@pytest.fixture
def dsn(cloned_database: Callable[[str], AbstractContextManager[str]], past_database: str) -> Iterator[str]:
    with cloned_database(past_database) as database:
        yield database


def recorded_keys(settings: Settings, dsn: str, table: str, key: str) -> set[tuple[str, str]]:
    """Keys in the files that the database knows and counts, read by pyarrow alone."""
    with connect(dsn) as connection:
        files = connection.execute(
            "select project_id, path from ops.archive_files where relation = %s and superseded_at is null",
            [f"raw.{table}"],
        ).fetchall()
    found = [
        (project, str(value))
        for project, path in files
        for value in pyarrow.parquet.ParquetFile(settings.archive / path).read([key])[key].to_pylist()
    ]
    assert len(found) == len(set(found)), "a row is in two files"
    return set(found)


def check_killed_retentions(kills: int, retentions: Workers, settings: Settings, dsn: str, seed: int) -> None:
    """Kills as many retentions at points drawn over a whole run; after each, archive and tables hold every row."""
    draw = random.Random(seed)
    before = history.rows(dsn, *history.EXECUTIONS)
    keys = {table: set(history.live_keys(dsn, table, key)) for table, key in KEYS.items()}
    started = time.monotonic()
    assert retentions.run()
    whole = time.monotonic() - started
    done = 0
    while True:
        with connect(dsn, role=jobs.ROLE, autocommit=True) as connection, maintenance_lock(connection, 60):
            restore.restore(connection, settings.archive, restore.listed(connection), timedelta(seconds=0))
        assert history.rows(dsn, *history.EXECUTIONS) == before, f"seed {seed}, after {done} kills"
        if done >= kills:
            return
        with connect(dsn, autocommit=True) as connection:
            # One month changes, so that its file is written anew.
            connection.execute(
                "update raw.model_requests set line_count = line_count + 1 where project_id = 'project-1' "
                "and timestamp < '2026-03-01'"
            )
        before = history.rows(dsn, *history.EXECUTIONS)
        while done < kills and not retentions.run(kill_after=draw.uniform(0.01, whole)):
            done += 1
            for table, key in KEYS.items():
                live = set(history.live_keys(dsn, table, key))
                assert live | recorded_keys(settings, dsn, table, key) == keys[table], f"seed {seed}, kill {done}"
        assert retentions.run()
        assert not any(history.live_keys(dsn, table, key) for table, key in KEYS.items())
        for table, key in KEYS.items():
            assert set(history.archived_keys(settings, table, key)) == keys[table]


def test_a_retention_killed_six_times_loses_nothing(retentions: Workers, settings: Settings, dsn: str) -> None:
    check_killed_retentions(6, retentions, settings, dsn, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_retention_killed_fifty_times_loses_nothing(retentions: Workers, settings: Settings, dsn: str) -> None:
    check_killed_retentions(50, retentions, settings, dsn, seed=2)
