"""One PostgreSQL server per test run, one database per test.

The server is started by the first test that needs it, whichever process that test runs in, and stopped by the
process that controls the run. Tests get clones of a migrated template database, so they never see each other.
"""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from pipelines.database import connect, embedded, migrations
from pipelines.settings import REPOSITORY, Settings

_RUN = "TRACEMILL_TEST_RUN"
_TEMPLATE = "tracemill_template"
_NO_DURABILITY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "256MB",
    "max_connections": "200",
}


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[_RUN] = tempfile.mkdtemp(prefix="tracemill-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        run = Path(os.environ.pop(_RUN))
        embedded.stop(run)
        shutil.rmtree(run, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> embedded.Status:
    """The server of this run. It does not survive a crash: tests that kill a server start their own."""
    started = embedded.start(Path(os.environ[_RUN]), options=_NO_DURABILITY)
    with _locked("server"), connect(started.dsn("postgres"), autocommit=True) as admin:
        admin.execute("create extension if not exists pg_stat_statements")
    return started


@contextmanager
def _locked(what: str) -> Iterator[None]:
    """Work that one process of this run does while the others wait."""
    with (Path(os.environ[_RUN]) / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def template(server: embedded.Status) -> str:
    """Name of the migrated database that tests clone."""
    with _locked("template"), connect(server.dsn("postgres"), autocommit=True) as admin:
        made = admin.execute("select 1 from pg_database where datname = %s", [_TEMPLATE]).fetchone()
        if made is None:
            unfinished = f"{_TEMPLATE}_unfinished"
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(unfinished)))
            migrations.migrate(server.dsn(unfinished))
            admin.execute(
                sql.SQL("alter database {} rename to {}").format(sql.Identifier(unfinished), sql.Identifier(_TEMPLATE))
            )
    return _TEMPLATE


@contextmanager
def _temporary_database(server: embedded.Status, template: str | None = None) -> Iterator[str]:
    """DSN of a new database, empty or a clone, dropped at the end whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    identifier = sql.Identifier(name)
    with connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute(
            # Copying the files takes a third of the time that copying through the write-ahead log does.
            sql.SQL("create database {} template {} strategy file_copy").format(
                identifier, sql.Identifier(template or "template0")
            )
        )
        if template is not None:
            _copy_database_settings(admin, template, name)
    try:
        yield server.dsn(name)
    finally:
        with connect(server.dsn("postgres"), autocommit=True) as admin:
            # A full memory of statements forgets those of running tests, and each dropped database leaves hundreds.
            admin.execute("select pg_stat_statements_reset(0, oid) from pg_database where datname = %s", [name])
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(identifier))


def _copy_database_settings(admin: psycopg.Connection, template: str, name: str) -> None:
    """A clone lacks what ALTER DATABASE … SET and GRANT … ON DATABASE gave the original."""
    admin.execute(
        """
        insert into pg_db_role_setting (setdatabase, setrole, setconfig)
        select copy.oid, s.setrole, s.setconfig
        from pg_db_role_setting as s
        join pg_database as original on original.oid = s.setdatabase and original.datname = %s
        join pg_database as copy on copy.datname = %s
        """,
        [template, name],
    )
    admin.execute(
        """
        update pg_database as copy set datacl = original.datacl
        from pg_database as original where original.datname = %s and copy.datname = %s
        """,
        [template, name],
    )


@pytest.fixture(scope="session")
def migrated_database(server: embedded.Status, template: str) -> Callable[[], AbstractContextManager[str]]:
    """Context manager that gives the DSN of a fresh, migrated database: for fixtures of a wider scope than a test."""
    return lambda: _temporary_database(server, template)


@pytest.fixture(scope="session")
def cloned_database(server: embedded.Status) -> Callable[[str], AbstractContextManager[str]]:
    """Context manager that gives the DSN of a clone of the named database, to which nobody may be connected."""
    return lambda original: _temporary_database(server, original)


@pytest.fixture(scope="session")
def past_database(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """Name of a database with the history of tests/history.py, to be cloned."""
    from tests import history

    with migrated_database() as database:
        with connect(database) as opened:
            history.add_executions(opened)
        yield str(conninfo.conninfo_to_dict(database)["dbname"])


@pytest.fixture(scope="session")
def empty_database(server: embedded.Status) -> Callable[[], AbstractContextManager[str]]:
    """Context manager that gives the DSN of a fresh database without any migration."""
    return lambda: _temporary_database(server)


@pytest.fixture
def dsn(server: embedded.Status, template: str) -> Iterator[str]:
    """DSN of a fresh, migrated database of the test's own."""
    with _temporary_database(server, template) as database:
        yield database


@pytest.fixture
def empty_dsn(server: embedded.Status) -> Iterator[str]:
    """DSN of a fresh database without any migration."""
    with _temporary_database(server) as database:
        yield database


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    """Superuser connection to ``dsn``, not in autocommit."""
    with connect(dsn) as opened:
        yield opened


@pytest.fixture
def server_home() -> Iterator[Path]:
    """Home folder for a server of the test's own, stopped and removed afterwards.

    Not under tmp_path: pytest closes those folders to the system user that the server runs as.
    """
    home = Path(tempfile.mkdtemp(prefix="tracemill-home-"))
    yield home
    embedded.stop(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    """Settings with a home of the test's own and its database."""
    return Settings(
        home=tmp_path / "home",
        database_url=dsn,
        reader_database_url=None,
        watched_folders=(tmp_path / "watched",),
        device_id="test-device",
        redaction_key="key of the tests",
    )


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The reference corpus beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip(f"the reference corpus is not there: {folder}")
    return folder
