"""One question in SQL, asked by somebody who must not get further than one project.

The boundary is the login, not SET ROLE, which the statement itself can undo: ``tracemill_reader`` on the embedded
server, ``TRACEMILL_READER_DATABASE_URL`` elsewhere. Without that setting an external database is asked through the
platform's own login with SET ROLE, which keeps honest people from mistakes and nobody else.

The statement runs as app_readonly in a read-only transaction with a token for one project and a time limit. It is
declared as a cursor through the extended protocol: one statement, one that returns rows, read in bounded memory.
EXPLAIN and SHOW cannot be cursors and run alone.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg
from psycopg import sql
from psycopg.abc import AdaptContext
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types import datetime

from pipelines.cli.errors import CommandError
from pipelines.database import connect, describe_error
from pipelines.database import dsn as warehouse_dsn
from pipelines.database.errors import is_timeout
from pipelines.settings import Settings

READER = "tracemill_reader"
_FETCH_ROWS = 2_000
_DECLARE = "declare answer no scroll cursor for "
_WITHOUT_CURSOR = re.compile(r"\s*(explain|show)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """Rows of a statement; they are read from the server while they are iterated."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class _OrText(Loader):
    """What Python cannot hold, such as infinity, years before Christ and 24:00, stays text."""

    kind: ClassVar[type[Loader]]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._loader = self.kind(oid, context)

    def load(self, data: Any) -> Any:
        try:
            return self._loader.load(data)
        except psycopg.DataError:
            return bytes(data).decode()


_CALENDAR: dict[str, type[Loader]] = {
    "date": datetime.DateLoader,
    "time": datetime.TimeLoader,
    "timetz": datetime.TimetzLoader,
    "timestamp": datetime.TimestampLoader,
    "timestamptz": datetime.TimestamptzLoader,
    "interval": datetime.IntervalLoader,
}


def choose_project(settings: Settings, wanted: str | None) -> str:
    """The project asked for, else the only one. Raises CommandError that names those there are."""
    try:
        with connect(warehouse_dsn(settings), role="tracemill_ingest", autocommit=True) as connection:
            rows = connection.execute("select project_id from app.project_config order by project_id").fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidParameterValue):
        raise CommandError("The database has no tables of tracemill yet: run `tracemill db migrate`.") from None
    known = [project for (project,) in rows]
    if not known:
        raise CommandError("No project is in the warehouse yet: ingest logs first, with `tracemill ingest PATH`.")
    if wanted is None and len(known) == 1:
        return str(known[0])
    if wanted is not None and wanted in known:
        return wanted
    problem = "There are several projects" if wanted is None else f"There is no project {wanted!r}"
    raise CommandError(f"{problem}: choose one with --project ({', '.join(known)}).")


@contextmanager
def session(settings: Settings, *, project: str, seconds: int) -> Iterator[psycopg.Connection]:
    """A read-only transaction as app_readonly inside ``project``, whose statements take ``seconds`` at most each."""
    platform = warehouse_dsn(settings)
    with connect(platform, role="tracemill_ingest", autocommit=True) as owner:
        lifetime = f"{seconds + 60} seconds"
        token = owner.execute("select app.open_session(%s, %s::interval)", [project, lifetime]).fetchone()
    with connect(_reader_dsn(settings, platform)) as connection:
        connection.read_only = True
        connection.execute("set role app_readonly")
        connection.execute(
            "select set_config('app.token', %s, true), set_config('statement_timeout', %s, true)",
            [token[0] if token else None, f"{seconds}s"],
        )
        yield connection
        connection.rollback()


@contextmanager
def ask(settings: Settings, statement: str, *, project: str, seconds: int) -> Iterator[Answer]:
    """Runs ``statement`` inside ``project``. Raises psycopg.Error for what the database refuses."""
    with session(settings, project=project, seconds=seconds) as connection:
        for name, kind in _CALENDAR.items():
            connection.adapters.register_loader(name, type(_OrText.__name__, (_OrText,), {"kind": kind}))
        connection.execute("select set_config('cursor_tuple_fraction', '1', true)")
        yield _run(connection, statement)


def is_about_statement(error: psycopg.Error) -> bool:
    """Whether the database objects to the statement, and not to anything that befell the server or the connection."""
    if not isinstance(error, psycopg.OperationalError):
        return True
    # A FATAL error ends the connection. psycopg calls some limits and mistakes operational, after their class.
    return error.diag.severity_nonlocalized == "ERROR" and (error.sqlstate or "")[:2] in {"08", "54", "55", "57"}


def describe(error: psycopg.Error, statement: str, seconds: int) -> str:
    """One sentence on what the database did not like, with the place where it can be named."""
    text = error.diag.message_primary or str(error)
    if isinstance(error, psycopg.errors.QueryCanceled):
        if is_timeout(error):
            return f"The statement took longer than {seconds} s: narrow it, or allow more with --timeout."
        return describe_error(error)
    if isinstance(error, psycopg.errors.ProtocolViolation):
        parameter = re.search(r"\$\d+", re.sub(r"'[^']*'", "", statement))
        return f"`{parameter[0] if parameter else '$1'}` is a parameter: write the value in its place."
    if "multiple commands" in text:
        return "One statement at a time: remove what follows the first one."
    if isinstance(error, psycopg.errors.SyntaxError) and not _returns_rows(statement):
        return "Only statements that return rows can be asked: SELECT, WITH, VALUES, TABLE, EXPLAIN or SHOW."
    position = _position(error, statement)
    hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
    return f"{text[:1].upper()}{text[1:]}{position}.{hint}"


def _reader_dsn(settings: Settings, platform: str) -> str:
    if settings.database_url is None:
        return make_conninfo(platform, user=READER)
    return settings.reader_database_url or platform


def has_reader_login(settings: Settings) -> bool:
    """Whether questions are asked through a login of their own."""
    if settings.database_url is None:
        return True
    reader = settings.reader_database_url
    return reader is not None and conninfo_to_dict(reader).get("user") != conninfo_to_dict(settings.database_url).get(
        "user"
    )


def _run(connection: psycopg.Connection, statement: str) -> Answer:
    if _WITHOUT_CURSOR.match(statement):
        cursor = connection.execute(_as_query(statement), binary=True)
        return Answer(_names(cursor), iter(cursor.fetchall()))
    # Binary results make psycopg use the extended protocol, in which the server refuses a second statement.
    connection.execute(_as_query(_DECLARE + statement), binary=True)
    first = connection.execute(sql.SQL("fetch {} from answer").format(_FETCH_ROWS))
    return Answer(_names(first), _fetch(connection, first))


def _as_query(text: str) -> bytes:
    return text.encode()


def _names(cursor: psycopg.Cursor) -> tuple[str, ...]:
    return tuple(column.name for column in cursor.description or ())


def _fetch(connection: psycopg.Connection, cursor: psycopg.Cursor) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchall():
        yield from rows
        cursor = connection.execute(sql.SQL("fetch {} from answer").format(_FETCH_ROWS))


def _returns_rows(statement: str) -> bool:
    without_comments = re.sub(r"--[^\n]*|/\*.*?\*/", " ", statement, flags=re.DOTALL).lstrip(" \t\r\n(")
    return bool(re.match(r"(select|with|values|table|explain|show)\b", without_comments, re.IGNORECASE))


def _position(error: psycopg.Error, statement: str) -> str:
    if not error.diag.statement_position:
        return ""
    place = int(error.diag.statement_position) - 1
    if not _WITHOUT_CURSOR.match(statement):
        place -= len(_DECLARE)
    if not 0 <= place <= len(statement):
        return ""
    line = statement.count("\n", 0, place) + 1
    column = place - (statement.rfind("\n", 0, place) + 1) + 1
    return f" (line {line}, column {column})"
