"""Connections, their errors, and migrations: safe to repeat, to run twice at once and to kill."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pipelines import database
from pipelines.database import embedded, migrations
from pipelines.settings import Settings
from tests import raw_rows

SECRET = "hunter2hunter2"

_MIGRATE = """
import sys
from pathlib import Path
from pipelines.database import migrations
migrations.migrate(sys.argv[1], folder=Path(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may add to."""
    return Path(shutil.copytree(migrations.FOLDER, tmp_path / "migrations"))


@pytest.fixture
def limited_login(server: embedded.Status) -> Iterator[str]:
    """A login role that may connect and nothing else."""
    name = f"limited_{os.urandom(4).hex()}"
    with database.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute(f"create role {name} login")
        yield name
        admin.execute(f"drop role {name}")


def sentence_for(dsn: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        database.connect(dsn)
    return database.describe_error(caught.value)


def test_configured_dsn_is_used_unchanged(settings):
    assert database.dsn(settings) == settings.database_url


def test_without_a_configured_dsn_the_embedded_server_is_started(server_home):
    dsn = database.dsn(Settings(home=server_home, database_url=None, reader_database_url=None, watched_folders=()))
    with database.connect(dsn) as connection:
        assert connection.info.dbname == "tracemill"


def test_connection_works_in_utc_under_its_name_and_role(dsn):
    with database.connect(
        make_conninfo(dsn, options="-c timezone=Asia/Kolkata"), role="tracemill_ingest"
    ) as connection:
        row = connection.execute(
            "select current_setting('timezone'), current_setting('application_name'), current_user"
        ).fetchone()
    assert row == ("UTC", "tracemill", "tracemill_ingest")


def test_what_the_dsn_says_itself_holds(dsn):
    for address in (f"{dsn}&application_name=notebook", make_conninfo(dsn, application_name="notebook")):
        with database.connect(address) as connection:
            assert connection.execute("show application_name").fetchone() == ("notebook",)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgres//user:{SECRET}@host/db",
        f"mysql://user:{SECRET}@host/db",
        f"postgresql://user:x/{SECRET}@host/db",
        f"postgresql://user:x@{SECRET}@host/db",
        f"postgresql://user:%zz{SECRET}@host/db",
        f"postgresql://user:{SECRET}@host/db?unknown=1",
        f"postgresql://user:{SECRET}@127.0.0.1:99999/db",
        f"host=127.0.0.1 port={SECRET} dbname=db",
    ],
)
def test_wrong_dsn_is_explained_without_quoting_it(dsn):
    sentence = sentence_for(dsn)
    assert sentence.startswith(
        "TRACEMILL_DATABASE_URL (or DATABASE_URL) is not a PostgreSQL address: write postgresql://"
    )
    assert SECRET not in sentence


def test_server_that_is_down_is_named():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        sentence = sentence_for(f"postgresql://user:{SECRET}@127.0.0.1:{port}/db")
    assert sentence == (
        f"The database server at 127.0.0.1:{port} is down: the connection was refused: start the server, "
        "or correct TRACEMILL_DATABASE_URL (or DATABASE_URL)."
    )


def test_missing_socket_database_login_and_host_are_named(server):
    folder = server.socket_folder
    assert "/nonexistent is down: its socket is missing" in sentence_for("postgresql:///db?host=/nonexistent")
    assert f"{folder} has no database absent" in sentence_for(server.dsn("absent"))
    assert f"{folder} has no login absent" in sentence_for(f"postgresql://absent:{SECRET}@/postgres?host={folder}")
    unknown_host = sentence_for(f"postgresql://user:{SECRET}@host.invalid/db")
    assert unknown_host.startswith("The host name host.invalid is not known")
    assert SECRET not in unknown_host


def test_lost_connection_is_one_sentence(dsn):
    with database.connect(dsn, autocommit=True) as victim, database.connect(dsn, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [victim.info.backend_pid])
        for _ in range(2):  # first what the server says, then a connection that is gone
            with pytest.raises(psycopg.Error) as caught:
                victim.execute("select 1")
            assert database.describe_error(caught.value).startswith("The connection to the database was lost: nothing")


@pytest.mark.parametrize(
    ("statement", "beginning"),
    [
        ("select * from raw.absent", "The database lacks a table (relation"),
        (
            "set role tracemill_ingest; select * from priv.sessions",
            "The login lacks a right (permission denied for schema",
        ),
        (
            "do $$ begin raise disk_full using message = 'no room'; end $$",
            "The database server's disk is full (no room)",
        ),
        ("set statement_timeout = '50ms'; select pg_sleep(9)", "The statement took longer than it may (canceling"),
        ("select pg_cancel_backend(pg_backend_pid())", "The statement was cancelled by somebody else (canceling"),
        ("select 1/0", "The database reports: division by zero (SQLSTATE 22012)."),
        (
            "do $$ begin raise 'see postgresql://u:hunter2@h/d'; end $$",
            "The database reports: see postgresql://u:***@h/d",
        ),
    ],
)
def test_errors_of_statements_are_one_sentence(connection, statement, beginning):
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement)
    sentence = database.describe_error(caught.value)
    assert sentence.startswith(beginning)
    assert "\n" not in sentence


def test_migrations_apply_once_and_in_order(empty_dsn):
    names = tuple(sorted(path.stem for path in migrations.FOLDER.glob("*.sql")))
    assert migrations.status(empty_dsn) == migrations.MigrationStatus(applied=(), pending=names, unknown=())
    assert migrations.migrate(empty_dsn) == names
    assert migrations.migrate(empty_dsn) == ()
    assert migrations.status(empty_dsn) == migrations.MigrationStatus(applied=names, pending=(), unknown=())


def test_migrations_can_run_again_over_what_they_made(empty_dsn):
    """Idempotent: a lost ledger costs nothing."""
    migrations.migrate(empty_dsn)
    with database.connect(empty_dsn, autocommit=True) as admin:
        admin.execute("drop table public.schema_migrations")
    assert migrations.migrate(empty_dsn) == migrations.status(empty_dsn).applied


def test_durations_that_nobody_measured_are_emptied_and_their_days_built_again(connection):
    raw_rows.insert(connection, raw_rows.Volume(date(2026, 3, 1), days=2, executions_per_day=50))
    connection.execute("delete from ops.touched_days")
    connection.execute(
        """
        update raw.command_executions set
            execution_time_ms = coalesce(execution_time_ms, 0),
            ended_at = case when status = 'pending' then timestamp else ended_at end
        where timestamp < '2026-03-02 00:00+00'
        """
    )
    connection.execute((migrations.FOLDER / "0031_leave_unknown_durations_empty.sql").read_text())
    unknown, known = connection.execute(
        "select count(*) filter (where kind = 'orphan' or status = 'pending'), count(execution_time_ms) "
        "from raw.command_executions"
    ).fetchone()
    assert (unknown > 0, known) == (True, 100 - unknown)
    touched = connection.execute("select distinct activity_date from ops.touched_days").fetchall()
    assert touched == [(date(2026, 3, 1),)]


def test_two_migrators_at_once_apply_each_migration_once(empty_dsn):
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: migrations.migrate(empty_dsn), range(4)))
    assert sorted(outcomes, key=len)[:3] == [(), (), ()]
    assert max(outcomes, key=len) == migrations.status(empty_dsn).applied


def test_migrator_that_waits_too_long_says_so(empty_dsn):
    with database.connect(empty_dsn, autocommit=True) as other:
        other.execute("select pg_advisory_lock(%s)", [migrations.LOCK])
        with pytest.raises(migrations.MigrationError, match="Another migration of this database has been running"):
            migrations.migrate(empty_dsn, wait_seconds=1)


def test_killed_migration_leaves_nothing_and_is_run_again(empty_dsn, folder):
    slow = folder / "9998_make_thing.sql"
    slow.write_text("create table public.thing (id integer); select pg_sleep(60);")
    migrator = subprocess.Popen([sys.executable, "-c", _MIGRATE, empty_dsn, str(folder)])
    sleeping = "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
    with database.connect(empty_dsn, autocommit=True) as observer:
        deadline = time.monotonic() + 60
        while observer.execute(sleeping).fetchone() is None:
            assert time.monotonic() < deadline, "the slow migration never began"
            time.sleep(0.05)
        migrator.send_signal(signal.SIGKILL)
        migrator.wait()

        slow.write_text("create table public.thing (id integer);")
        assert migrations.migrate(empty_dsn, folder=folder, wait_seconds=30) == ("9998_make_thing",)
        assert observer.execute("select count(*) from public.thing").fetchone() == (0,)


def test_failing_migration_is_named_and_changes_nothing(empty_dsn, folder):
    (folder / "9998_break.sql").write_text("create table public.half (id integer); select 1/0;")
    with pytest.raises(migrations.MigrationError, match=r"9998_break was not applied and nothing .*division by zero"):
        migrations.migrate(empty_dsn, folder=folder)
    with database.connect(empty_dsn) as connection:
        assert connection.execute("select to_regclass('public.half')").fetchone() == (None,)
    assert migrations.status(empty_dsn, folder=folder).pending == ("9998_break",)


def test_migration_does_not_wait_for_ever_behind_a_locked_table(dsn, folder):
    (folder / "9998_alter.sql").write_text(
        "set local lock_timeout = '100ms'; alter table raw.tool_calls add column x int;"
    )
    with database.connect(dsn) as reader:
        reader.execute("select * from raw.tool_calls")
        with pytest.raises(migrations.MigrationError, match="another session keeps a table locked"):
            migrations.migrate(dsn, folder=folder)


def test_database_of_a_newer_version_is_refused_before_anything_is_changed(dsn, folder):
    with database.connect(dsn, autocommit=True) as admin:
        admin.execute("insert into public.schema_migrations (name) values ('9999_from_the_future')")
    (folder / "9998_make_thing.sql").write_text("create table public.thing (id integer);")
    with pytest.raises(migrations.MigrationError, match=r"newer than this tracemill.*9999_from_the_future.*upgrade"):
        migrations.migrate(dsn, folder=folder)
    assert "9998_make_thing" in migrations.status(dsn, folder=folder).pending


@pytest.mark.parametrize("server_version", [90600, 150013])
def test_servers_that_are_too_old_are_refused(server_version):
    with pytest.raises(migrations.MigrationError, match=r"runs PostgreSQL (9|15); tracemill needs 16 or newer"):
        migrations.require_supported(server_version)
    migrations.require_supported(160000)


def test_login_without_rights_learns_which_it_needs(empty_dsn, limited_login):
    with pytest.raises(migrations.MigrationError) as caught:
        migrations.migrate(make_conninfo(empty_dsn, user=limited_login))
    assert str(caught.value).startswith(f"The login {limited_login} lacks rights on database test_")
    assert "own the database and have CREATEROLE" in str(caught.value)


def test_owner_with_createrole_can_migrate_without_being_superuser_once_pgvector_is_there(server_home):
    state = embedded.start(server_home)
    with database.connect(state.dsn("postgres"), autocommit=True) as admin:
        admin.execute("create role manager login createrole")
        admin.execute("create database managed owner manager")
    dsn = make_conninfo(state.dsn("managed"), user="manager")
    with pytest.raises(migrations.MigrationError, match=r'lacks pgvector 0\.8 or newer.*"create extension vector'):
        migrations.migrate(dsn)
    with database.connect(state.dsn("managed"), autocommit=True) as admin:
        admin.execute("create extension vector schema public")
    migrations.migrate(dsn)
    assert migrations.status(dsn).pending == ()
    with database.connect(dsn, role="tracemill_ingest") as connection:
        assert connection.execute("select count(*) from raw.command_executions").fetchone() == (0,)
