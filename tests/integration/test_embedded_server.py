"""The embedded server: always the same one for a home, whatever happened to it before."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from pipelines.database import embedded

_START = """
import sys
from pathlib import Path
from pipelines.database import embedded
print(embedded.start(Path(sys.argv[1])).pid)
"""


def _start_in_another_process(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _START, str(home)], stdout=subprocess.PIPE, text=True)


def _pid_of(starter: subprocess.Popen[str]) -> int:
    output, _ = starter.communicate(timeout=90)
    assert starter.returncode == 0
    return int(output)


def test_processes_that_start_at_once_share_one_server_that_outlives_them(server_home):
    starters = [_start_in_another_process(server_home) for _ in range(3)]
    pids = {_pid_of(starter) for starter in starters}

    state = embedded.status(server_home)
    assert pids == {state.pid}
    assert state.running
    assert embedded.start(server_home).pid == state.pid

    assert embedded.stop(server_home)
    assert not embedded.status(server_home).running
    assert not embedded.stop(server_home)


def test_server_is_set_up_for_the_warehouse_and_reachable_by_its_owner_only(server_home):
    state = embedded.start(server_home)
    with psycopg.connect(state.dsn()) as connection:

        def show(setting: str) -> str:
            return connection.execute("select current_setting(%s)", [setting]).fetchone()[0]

        assert show("shared_preload_libraries") == "pg_stat_statements"
        assert show("data_checksums") == "on"
        assert show("listen_addresses") == ""
        assert show("server_encoding") == "UTF8"
        assert show("TimeZone") == "UTC"
    for folder in (state.data, state.socket_folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_killed_server_comes_back_with_everything_committed(server_home):
    state = embedded.start(server_home)
    with psycopg.connect(state.dsn()) as connection:
        connection.execute("create table kept as select generate_series(1, 1000) as number")
    os.kill(state.pid, signal.SIGKILL)

    restarted = embedded.start(server_home)
    assert restarted.pid != state.pid
    with psycopg.connect(restarted.dsn()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1000,)


def test_a_start_waits_for_a_server_that_is_on_its_way_down(server_home):
    state = embedded.start(server_home)
    with psycopg.connect(state.dsn()) as guest:
        os.kill(state.pid, signal.SIGTERM)  # it goes when its last guest has gone
        while embedded.status(server_home).running:
            time.sleep(0.05)
        starter = _start_in_another_process(server_home)
        time.sleep(1)
        assert starter.poll() is None
        guest.close()
    assert _pid_of(starter) != state.pid


def test_leftovers_of_a_crash_do_not_prevent_a_start(server_home):
    unfinished = server_home / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    state = embedded.start(server_home)
    pid_file = state.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    embedded.stop(server_home)

    # After a reboot the recorded pid may be that of any other program: here, of this one.
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert not embedded.status(server_home).running
    assert embedded.start(server_home).running


def test_home_with_a_path_longer_than_a_socket_may_have(server_home):
    home = server_home / ("long" * 40) / "with spaces & signs %"
    state = embedded.start(home)
    try:
        with psycopg.connect(state.dsn()) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        embedded.stop(home)
        state.socket_folder.rmdir()


def test_home_that_needs_quoting(server_home):
    home = server_home / "it's a % home?&#"
    state = embedded.start(home)
    with psycopg.connect(state.dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert embedded.stop(home)


def test_asking_for_the_status_makes_nothing(tmp_path):
    state = embedded.status(tmp_path / "home")
    assert (state.running, state.pid, state.version) == (False, None, None)
    assert not (tmp_path / "home").exists()


def test_home_that_cannot_be_a_folder_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(
        embedded.EmbeddedServerError, match=r"needs a folder it can write: .*file/postgres.*TRACEMILL_HOME"
    ):
        embedded.start(file)


def test_cluster_that_cannot_start_says_why_and_where_the_log_is(server_home):
    state = embedded.start(server_home)
    embedded.stop(server_home)
    (state.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(
        embedded.EmbeddedServerError, match=r"did not start: database files are incompatible.*server\.log"
    ):
        embedded.start(server_home)
