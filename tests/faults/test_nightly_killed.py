"""A nightly run that is killed with SIGKILL, at any point, alone or with its dbt: the next run completes it."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines import ingest
from pipelines.database import connect
from tests import history
from tests.dagster_world import LAST_DAY, World, dagster_world, fingerprints
from tests.killing import Workers, workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = 50 if "TRACEMILL_TEST_ENDURANCE" in os.environ else 10
KILLS_BEFORE_A_WHOLE_RUN = 10

_PREPARATION = """
import dagster as dg
from pipelines.definitions import defs

def aggregate():
    with dg.DagsterInstance.get() as instance:
        job = defs.resolve_job_def("nightly_aggregation")
        return job.execute_in_process(partition_key="{day}", instance=instance, raise_on_error=False).success
"""


@pytest.fixture
def world(migrated_database: Callable[[], AbstractContextManager[str]], tmp_path: Path) -> Iterator[World]:
    with dagster_world(migrated_database, tmp_path, days=2, size_bytes=60_000) as made:
        yield made


@pytest.fixture
def nights(world: World) -> Iterator[Workers]:
    with workers(_PREPARATION.format(day=LAST_DAY), "aggregate()", world.environment) as made:
        yield made


def touch(dsn: str) -> None:
    """Two days for the next night to build again."""
    with connect(dsn, autocommit=True) as connection:
        connection.execute(
            "insert into ops.touched_days (project_id, activity_date) select 'late', unnest(%s::date[]) "
            "on conflict (activity_date, project_id) do update set touched_at = excluded.touched_at",
            [[LAST_DAY - timedelta(days=1), LAST_DAY]],
        )


def pending(dsn: str) -> list[tuple[int]]:
    """Days that still have to be built."""
    with connect(dsn) as connection:
        return connection.execute(
            "select count(*) from ops.touched_days union all select count(*) from ops.aggregation_days"
        ).fetchall()


def test_a_nightly_run_killed_anywhere_loses_no_row_and_the_next_leaves_the_same_marts(
    nights: Workers, world: World
) -> None:
    """Killed again and again, at points drawn over a whole run."""
    draw = random.Random(KILLS)
    ingest.run([world.logs], dsn=world.dsn, settings=world.settings)
    assert nights.run()
    raw, marts = history.rows(world.dsn, *history.EXECUTIONS), fingerprints(world.dsn)
    assert all(raw.values())
    touch(world.dsn)
    started = time.monotonic()
    assert nights.run()
    whole = time.monotonic() - started
    assert fingerprints(world.dsn) == marts

    kills = 0
    while kills < KILLS:
        touch(world.dsn)
        for _ in range(min(KILLS_BEFORE_A_WHOLE_RUN, KILLS - kills)):
            if not nights.run(draw.uniform(0.01, whole), with_children=draw.random() < 0.5):
                kills += 1
                assert history.rows(world.dsn, *history.EXECUTIONS) == raw, f"kill {kills}"
        assert nights.run(), f"after {kills} kills"
        assert pending(world.dsn) == [(0,), (0,)]
        assert fingerprints(world.dsn) == marts, f"after {kills} kills"
