"""Dagster's daemon stops for days, or loses its database: afterwards everything that was due has been done."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import sqlalchemy.exc

from pipelines.database import embedded, migrations
from pipelines.maintenance.launch import aggregate
from pipelines.settings import REPOSITORY
from tests.dagster_world import World, dagster_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SCHEDULE = "nightly_aggregation_schedule"
SCHEDULED_AT = timedelta(hours=2)
"""After midnight UTC, when the night of the day before is due."""
MISSED = 12
MOST = timedelta(minutes=9)
"""How long a test of the schedule may take until it has seen what it did."""
WATCHED = {"SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR", "MONITORING"}
DAILY = dg.AssetKey(["marts", "daily_command_stats"])


@pytest.fixture
def world(server_home: Path, tmp_path: Path) -> Iterator[World]:
    """A world on a server of its own, which may be killed."""

    @contextmanager
    def database() -> Iterator[str]:
        dsn = embedded.start(server_home).dsn()
        migrations.migrate(dsn)
        yield dsn

    with dagster_world(database, tmp_path, days=2, size_bytes=60_000) as made:
        yield made


@contextmanager
def daemon(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Dagster's daemon, as a service manager runs it."""
    command = [str(Path(sys.executable).parent / "dagster-daemon"), "run", "--workspace", "workspace.yaml"]
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        # A service manager ends all of its processes; a code server would wait for runs that are not to end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object], seconds: float, log: Path) -> None:
    """Until ``condition`` holds; a server that is away for a moment counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (psycopg.OperationalError, sqlalchemy.exc.OperationalError):
            pass
        assert time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(1)


def move_schedule_back(world: World, by: timedelta) -> int:
    """Lets the daemon believe that it last looked at the nightly schedule so long ago; returns how many it changed."""
    changed = 0
    with psycopg.connect(world.dagster_dsn) as storage:
        for key, body in storage.execute("select id, instigator_body from instigators").fetchall():
            if SCHEDULE in body:
                moved = re.sub(
                    r'("(?:start|last_iteration)_timestamp": )([\d.]+)',
                    lambda found: f"{found[1]}{float(found[2]) - by.total_seconds()}",
                    body,
                )
                storage.execute("update instigators set instigator_body = %s where id = %s", [moved, key])
                changed += moved != body
    return changed


def wait_while_a_night_is_near() -> None:
    """Until no night becomes due while the test runs: it would start a run of its own."""
    since_the_last = (datetime.now(UTC) - SCHEDULED_AT - datetime(2026, 1, 1, tzinfo=UTC)) % timedelta(days=1)
    if (until_the_next := timedelta(days=1) - since_the_last) < MOST:
        time.sleep(until_the_next.total_seconds() + 1)


def has_states(world: World) -> bool:
    with psycopg.connect(world.dagster_dsn) as storage:
        rows = storage.execute("select instigator_body from instigators").fetchall()
    return any(SCHEDULE in body and "start_timestamp" in body for (body,) in rows)


def test_the_days_of_twelve_missed_nights_are_filled_by_one_run(world: World, tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    wait_while_a_night_is_near()
    last_due = (datetime.now(UTC) - SCHEDULED_AT).date() - timedelta(days=1)
    last_built = last_due - timedelta(days=MISSED)
    assert aggregate(world.settings, world.dsn, last_built, last_built).success
    with daemon(log):
        wait_for(lambda: has_states(world), 120, log)
    assert move_schedule_back(world, timedelta(days=MISSED)) == 1

    with dg.DagsterInstance.get() as instance, daemon(log):

        def filled() -> set[date]:
            return {date.fromisoformat(key) for key in instance.get_materialized_partitions(DAILY)}

        missed = {last_due - timedelta(days=n) for n in range(MISSED)}
        assert not missed & filled()
        wait_for(lambda: missed <= filled(), 300, log)
        scheduled = instance.get_runs(dg.RunsFilter(tags={"dagster/schedule_name": SCHEDULE}))
        days = [run.tags["dagster/asset_partition_range_start"] for run in scheduled]
        assert days == [min(missed).isoformat()]


def test_a_daemon_goes_on_after_its_database_was_killed(world: World, server_home: Path, tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    with daemon(log) as process:
        wait_for(lambda: heartbeats_since(0) >= WATCHED, 120, log)
        postmaster = embedded.status(server_home).pid
        assert postmaster is not None
        os.kill(postmaster, signal.SIGKILL)
        time.sleep(10)
        embedded.start(server_home)
        restarted = time.time()

        # A run that is launched waits in the queue until the daemon takes it.
        launched = world.dagster("job", "launch", "--workspace", "workspace.yaml", "--job", "maintain_partitions")
        assert launched.returncode == 0, launched.stderr
        wait_for(lambda: succeeded("maintain_partitions"), 180, log)
        wait_for(lambda: heartbeats_since(restarted) >= WATCHED, 120, log)
        assert process.poll() is None, "it was never restarted"


def heartbeats_since(moment: float) -> set[str]:
    """Parts of the daemon that gave a sign of life after ``moment``, in seconds since 1970."""
    with dg.DagsterInstance.get() as instance:
        return {name for name, beat in instance.get_daemon_heartbeats().items() if beat.timestamp > moment}


def succeeded(job: str) -> bool:
    with dg.DagsterInstance.get() as instance:
        found = instance.get_runs(dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS]))
    return len(found) == 1
