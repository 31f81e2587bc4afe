"""SQLite files as stores of other tools: telling them by their tables, and reading them while they are written.

A tool may have its store open. Nothing here writes to it, and whoever reads gets a copy made in one step by SQLite
itself, with what stands in the write-ahead log beside the file and without what is not yet committed.
"""

import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipelines.sources.outputs import Unreadable

MAGIC = b"SQLite format 3\x00"
COMPANIONS = ("-wal", "-journal")
"""Ends of the names of files beside a database that hold a part of it."""

_BUSY_SECONDS = 5.0
_BEGINNING = 1 << 20
_DEFINITION = re.compile(rb'CREATE TABLE "?([a-z_]+)"? *\(')
_WAL_MODE = 2
_READ_VERSION = 19
"""Byte of the header that says how the file is read."""


def database_of(path: Path) -> Path:
    """The database that ``path`` is, or that it accompanies."""
    for end in COMPANIONS:
        if path.name.endswith(end) and path.name != end:
            return path.with_name(path.name.removesuffix(end))
    return path


def holds_tables(path: Path, tables: frozenset[str]) -> bool:
    """Whether ``path`` is, or accompanies, a database with all these tables; False for whatever cannot be read."""
    try:
        database = database_of(path)
        if not _has_magic(database):
            return False
        try:
            found = _tables(_open(database, busy_seconds=0))
        except sqlite3.OperationalError:
            # Names of tables may be read under a lock; what is in them may not, and snapshot says so.
            found = _tables(_connect(database, "immutable=1", 0))
    except sqlite3.DatabaseError:
        return tables <= _named_tables(database)
    except (OSError, ValueError):
        return False
    return tables <= found


@contextmanager
def snapshot(path: Path) -> Iterator[Path]:
    """A consistent copy of the database, there as long as the block runs. Raises Unreadable."""
    with tempfile.TemporaryDirectory(prefix="tracemill-") as folder:
        copy = Path(folder) / "store.db"
        try:
            with closing(_open(path)) as source, closing(sqlite3.connect(copy)) as target:
                # Without a transaction of its own a backup would wait for another's lock for ever.
                source.execute("begin")
                source.execute("select count(*) from sqlite_master").fetchone()
                source.backup(target)
                if target.execute("pragma quick_check(1)").fetchone() != ("ok",):
                    raise sqlite3.DatabaseError("pages do not fit together")
        except (OSError, sqlite3.Error) as error:
            raise Unreadable(_explain(error)) from error
        yield copy


def _explain(error: Exception) -> str:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "Another process is writing the SQLite file and does not let go of it; ingest it again when it is done."
    if getattr(error, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
        return (
            "Its last writer ended in the middle of a change; open the SQLite file once with the tool that owns it, "
            "which takes the change back, and ingest it again."
        )
    return f"The SQLite file is damaged or was cut short ({error}); copy it again from where it was made."


def _tables(connection: sqlite3.Connection) -> frozenset[str]:
    with closing(connection):
        rows = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    return frozenset(name for (name,) in rows)


def _named_tables(database: Path) -> frozenset[str]:
    """Tables whose definitions stand at the beginning of a damaged file: what it is can be said even then."""
    with database.open("rb") as stream:
        return frozenset(name.decode() for name in _DEFINITION.findall(stream.read(_BEGINNING)))


def _has_magic(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def _open(path: Path, *, busy_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    """For reading only. A file in write-ahead mode that nobody has open is read without leaving files beside it."""
    with path.open("rb") as stream:
        header = stream.read(_READ_VERSION + 1)
    is_quiet = header[-1:] == bytes([_WAL_MODE]) and not path.with_name(path.name + "-wal").exists()
    return _connect(path, "immutable=1" if is_quiet else "mode=ro", busy_seconds)


def _connect(path: Path, mode: str, busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=busy_seconds)
