"""An ingest that is killed with SIGKILL, at any point, loses nothing and doubles nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from pipelines import ingest, samples
from pipelines.settings import Settings
from tests import oracle, warehouse

_PROGRAM = """
import sys
from pathlib import Path
from pipelines import ingest, settings
from pipelines.ingest import worker

worker.BATCH_ROWS = 200  # small batches: many commits to be killed between
s = settings.load()
ingest.run([Path(sys.argv[1])], dsn=s.database_url, settings=s, jobs=1)
"""


def ingest_and_kill(folder: Path, settings: Settings, seconds: float) -> bool:
    """Starts an ingest and kills it after ``seconds``; says whether it was still at work."""
    environment = {
        **os.environ,
        "TRACEMILL_DATABASE_URL": settings.database_url or "",
        "TRACEMILL_HOME": str(settings.home),
        "TRACEMILL_REDACTION_KEY": settings.redaction_key or "",
        "TRACEMILL_DEVICE_ID": settings.device_id,
    }
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(folder)], env=environment, start_new_session=True)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert process.returncode == 0
    return False


def check_killed_ingests(kills: int, size_bytes: int, settings: Settings, dsn: str, tmp_path: Path) -> None:
    """Kills as many ingests at points drawn over their whole run, then lets one finish; each time all adds up."""
    folder = tmp_path / "sample"
    samples.generate(folder, days=30, size_bytes=size_bytes)
    expected, tools = oracle.responses(folder), oracle.tool_uses(folder)
    draw = random.Random(kills)
    started = time.monotonic()
    assert not ingest_and_kill(folder, settings, 600)
    whole = time.monotonic() - started
    with psycopg.connect(dsn) as connection:
        finished = warehouse.contents(connection)
    done = 0
    while done < kills:
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "truncate raw.command_executions, raw.model_requests, raw.tool_calls, ops.execution_aliases, "
                "ops.ingest_files, ops.quarantined_records, ops.touched_days"
            )
        while ingest_and_kill(folder, settings, draw.uniform(0.1, whole)):
            done += 1
            with psycopg.connect(dsn) as connection:
                stored = warehouse.responses(connection)
                assert stored.keys() <= expected.keys()
                warehouse.assert_totals_add_up(connection)
            if done >= kills:
                ingest.run([folder], dsn=dsn, settings=settings, jobs=1)
                break
        with psycopg.connect(dsn) as connection:
            assert warehouse.responses(connection) == expected
            assert warehouse.tool_uses(connection) == tools
            assert warehouse.contents(connection) == finished


def test_an_ingest_killed_a_few_times_ends_complete(settings: Settings, dsn: str, tmp_path: Path) -> None:
    check_killed_ingests(4, 800_000, settings, dsn, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_an_ingest_killed_a_hundred_times_ends_complete(settings: Settings, dsn: str, tmp_path: Path) -> None:
    check_killed_ingests(100, 2_500_000, settings, dsn, tmp_path)
