"""Several worker processes store what one stores, and none outlives its ingest, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from pipelines import samples
from pipelines.ingest.redaction import engine
from pipelines.ingest.worker import load_what_workers_share
from pipelines.settings import Settings
from tests import oracle, warehouse

# The ingest of this test runs in a process of its own: whether workers are forked depends on its threads.
_PROGRAM = """
import multiprocessing, os, signal, sys, threading
from pathlib import Path
from pipelines import ingest, settings
from pipelines.ingest import runner

folder, act = Path(sys.argv[1]), sys.argv[2]
runner.ALONE_BYTES = 0
if act == "beside a thread":
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def progress(done):
    workers = [process.pid for process in multiprocessing.active_children()]
    print("forked" if runner._may_fork() else "spawned", *workers, flush=True)
    if act == "kill a worker":
        os.kill(workers[0], signal.SIGKILL)
    if act == "kill the parent":
        os.kill(os.getpid(), signal.SIGKILL)

s = settings.load()
ingest.run([folder], dsn=s.database_url, settings=s, jobs=2, on_progress=progress)
"""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> samples.SampleTruth:
    """A small generated folder and the truth about it."""
    return samples.generate(tmp_path_factory.mktemp("sample"), days=20, size_bytes=1_500_000)


def run(folder: Path, settings: Settings, act: str = "nothing") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "TRACEMILL_DATABASE_URL": settings.database_url or "",
        "TRACEMILL_HOME": str(settings.home),
        "TRACEMILL_REDACTION_KEY": settings.redaction_key or "",
        "TRACEMILL_DEVICE_ID": settings.device_id,
    }
    command = [sys.executable, "-c", _PROGRAM, str(folder), act]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def assert_all_is_stored_once(connection: psycopg.Connection, sample: samples.SampleTruth) -> None:
    assert warehouse.responses(connection) == oracle.responses(sample.folder)
    assert warehouse.tool_uses(connection) == oracle.tool_uses(sample.folder)
    assert warehouse.executions_by_status(connection) == sample.executions_by_status()
    warehouse.assert_totals_add_up(connection)


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("act", "how"), [("nothing", "forked"), ("beside a thread", "spawned")])
def test_workers_store_everything_once_however_they_start(
    act: str, how: str, settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth
) -> None:
    done = run(sample.folder, settings, act)
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines()]
    assert {words[0] for words in told} == {how if Path("/proc/self/task").is_dir() else "spawned"}
    assert len({pid for words in told for pid in words[1:]}) == 2
    assert_all_is_stored_once(connection, sample)


def test_the_death_of_a_worker_is_told_and_the_next_ingest_completes_the_work(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth
) -> None:
    cut = run(sample.folder, settings, "kill a worker")
    assert "WorkerDied: a worker process ended with status -9" in cut.stderr
    done = run(sample.folder, settings)
    assert done.returncode == 0, done.stderr
    assert_all_is_stored_once(connection, sample)


def test_workers_end_when_their_parent_is_killed(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth
) -> None:
    cut = run(sample.folder, settings, "kill the parent")
    assert cut.returncode == -signal.SIGKILL
    workers = [int(word) for word in cut.stdout.splitlines()[0].split()[1:]]
    assert len(workers) == 2
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, f"workers {workers} outlive their parent"
        time.sleep(0.05)
    done = run(sample.folder, settings)
    assert done.returncode == 0, done.stderr
    assert_all_is_stored_once(connection, sample)


def test_what_goes_wrong_in_loading_the_rules_beside_the_prices_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise FileNotFoundError("rules.yml")

    monkeypatch.setattr(engine, "load", missing)
    with pytest.raises(FileNotFoundError, match=r"rules\.yml"):
        load_what_workers_share()
