"""The server fails during an ingest (full disk, kill): told in a sentence, made good by running again."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pipelines import samples
from pipelines.database import connect, embedded, migrations
from tests import oracle, warehouse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def ingest(home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRACEMILL_HOME": str(home)}
    environment.pop("TRACEMILL_DATABASE_URL", None)
    environment.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "ingest", str(folder), "--jobs", "1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def assert_complete(dsn: str, folder: Path) -> None:
    with connect(dsn) as connection:
        assert warehouse.responses(connection) == oracle.responses(folder)
        assert warehouse.tool_uses(connection) == oracle.tool_uses(folder)
        warehouse.assert_totals_add_up(connection)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, 160 MB."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs the right to mount a file system")
    folder = Path(tempfile.mkdtemp(prefix="tracemill-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    folder.chmod(0o755)
    yield folder
    embedded.stop(folder / "home")
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_is_named_and_nothing_is_lost_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    home, folder = small_disk / "home", tmp_path / "sample"
    samples.generate(folder, size_bytes=30_000_000)
    home.mkdir()
    dsn = embedded.start(home, options={"max_wal_size": "48MB", "min_wal_size": "32MB"}).dsn()
    migrations.migrate(dsn)
    room = shutil.disk_usage(small_disk).free
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * max(room - 6_000_000, 0))
    failed = ingest(home, folder)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "disk" in failed.stderr or "connection" in failed.stderr, failed.stderr
    filler.unlink()
    embedded.start(home)
    done = ingest(home, folder)
    assert "Traceback" not in done.stderr
    assert_complete(dsn, folder)


def committed_files(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("select count(*) from ops.ingest_files where is_read_to_end").fetchone()
    assert row is not None
    return int(row[0])


def test_a_server_killed_during_an_ingest_loses_nothing(server_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    samples.generate(folder, size_bytes=60_000_000)
    dsn = embedded.start(server_home).dsn()
    migrations.migrate(dsn)
    environment = {**os.environ, "TRACEMILL_HOME": str(server_home)}
    environment.pop("TRACEMILL_DATABASE_URL", None)
    environment.pop("DATABASE_URL", None)
    for seconds_after_a_commit in (0.0, 0.05, 0.1):
        before = committed_files(dsn)
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "ingest", str(folder), "--jobs", "2"],
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        while committed_files(dsn) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(seconds_after_a_commit)
        pid = embedded.status(server_home).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "Traceback" not in errors
        assert "connection" in errors or "database" in errors, errors
        embedded.start(server_home)
        with psycopg.connect(dsn) as connection:
            assert warehouse.responses(connection).keys() <= oracle.responses(folder).keys()
    assert "Traceback" not in ingest(server_home, folder).stderr
    assert_complete(dsn, folder)
