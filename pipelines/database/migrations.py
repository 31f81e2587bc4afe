"""Migrations: plain SQL files, applied once each, in the order of their numbers.

A file is ``NNNN_verb_thing.sql`` in ``sql/migrations``. It runs in one transaction together with its row in
``public.schema_migrations``, so a migration that is killed leaves nothing and is run again. An advisory lock lets
only one migrator work at a time; the others wait, find nothing left to do and succeed. Migrations go forward only.
"""

from dataclasses import dataclass
from pathlib import Path

import psycopg

from pipelines.database.connection import connect
from pipelines.settings import REPOSITORY

FOLDER = REPOSITORY / "sql" / "migrations"

LOCK = 7_226_310_744_811_520_019
"""Key of the advisory lock; any number will do as long as it never changes."""
_OLDEST_SERVER = 16


class MigrationError(Exception):
    """The database cannot be brought to this version; the message is a sentence for the user."""


@dataclass(frozen=True)
class MigrationStatus:
    """What a database has seen of the migrations: names of files, in order."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
    """Applied, but not among the files: the database belongs to a newer tracemill."""

    def require_not_newer(self) -> None:
        """Raise MigrationError when the database has migrations that this version does not know."""
        if self.unknown:
            raise MigrationError(
                f"The database is newer than this tracemill (it has the migration {self.unknown[-1]}, this version "
                "does not): upgrade tracemill, or connect to another database."
            )


def migrate(dsn: str, *, folder: Path = FOLDER, wait_seconds: int = 300) -> tuple[str, ...]:
    """Apply what is missing and return the names of what was applied.

    Raises MigrationError when the server is too old, the database too new, another migrator takes longer than
    ``wait_seconds`` or a file fails; psycopg.OperationalError when the database cannot be reached.
    """
    files = _files(folder)
    with connect(dsn, autocommit=True) as connection:
        require_supported(connection.info.server_version)
        _lock(connection, wait_seconds)
        before = _status(connection, files)
        before.require_not_newer()
        if before.pending:
            _make_ledger(connection)
        for name in before.pending:
            _apply(connection, files[name])
        return before.pending


def status(dsn: str, *, folder: Path = FOLDER) -> MigrationStatus:
    """Which migrations the database has, lacks, and has beyond this version."""
    with connect(dsn, autocommit=True) as connection:
        return _status(connection, _files(folder))


def require_supported(server_version: int) -> None:
    """Raise MigrationError for a server that is too old; ``server_version`` as libpq gives it, e.g. 160004."""
    major = server_version // 10000
    if major < _OLDEST_SERVER:
        raise MigrationError(
            f"The server runs PostgreSQL {major}; tracemill needs {_OLDEST_SERVER} or newer: upgrade the server, "
            "or leave TRACEMILL_DATABASE_URL unset to use the embedded one."
        )


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("[0-9]*_*.sql"))}


def _lock(connection: psycopg.Connection, wait_seconds: int) -> None:
    """Held by the session: it goes away with the connection, however that ends."""
    try:
        connection.execute("select set_config('lock_timeout', %s, false)", [f"{wait_seconds}s"])
        connection.execute("select pg_advisory_lock(%s)", [LOCK])
        connection.execute("select set_config('lock_timeout', '5s', false)")
    except psycopg.errors.LockNotAvailable:
        raise MigrationError(
            f"Another migration of this database has been running for more than {wait_seconds} s: wait until it has "
            "finished, then run `tracemill db migrate` again."
        ) from None


def _status(connection: psycopg.Connection, files: dict[str, Path]) -> MigrationStatus:
    done: set[str] = set()
    if connection.execute("select to_regclass('public.schema_migrations') is not null").fetchone() == (True,):
        done = {name for (name,) in connection.execute("select name from public.schema_migrations")}
    return MigrationStatus(
        applied=tuple(name for name in files if name in done),
        pending=tuple(name for name in files if name not in done),
        unknown=tuple(sorted(done - files.keys())),
    )


def _make_ledger(connection: psycopg.Connection) -> None:
    try:
        connection.execute(
            """
            create table if not exists public.schema_migrations (
                name text primary key,
                applied_at timestamptz not null default now()
            )
            """
        )
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(_missing_rights(connection, error)) from error


def _apply(connection: psycopg.Connection, path: Path) -> None:
    try:
        with connection.transaction():
            connection.execute(path.read_bytes())
            connection.execute("insert into public.schema_migrations (name) values (%s)", [path.stem])
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(f"Migration {path.stem} was not applied. {_missing_rights(connection, error)}") from error
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"Migration {path.stem} was not applied: another session keeps a table locked for more than 5 s. "
            "Run `tracemill db migrate` again when that session has finished."
        ) from error
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise MigrationError(
            f"Migration {path.stem} was not applied and nothing was changed: {error.diag.message_primary or error}."
        ) from error


def _missing_rights(connection: psycopg.Connection, error: psycopg.Error) -> str:
    return (
        f"The login {connection.info.user} lacks rights on database {connection.info.dbname} "
        f"({error.diag.message_primary}): it must own the database and have CREATEROLE to migrate it."
    )
