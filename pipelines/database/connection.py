"""Connections to the warehouse, all alike: UTC, named ``tracemill``, with the role the work is done as."""

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pipelines.database.errors import InvalidDsnError

_CONNECT_SECONDS = 10


def connect(dsn: str, *, role: str | None = None, autocommit: bool = False) -> psycopg.Connection:
    """A connection to ``dsn``, acting as ``role`` when given.

    What the DSN says itself (timeout, application name) holds. Raises psycopg.Error, InvalidDsnError among them;
    ``describe_error`` makes a sentence of it.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise InvalidDsnError from None
    defaults = {"application_name": "tracemill", "connect_timeout": _CONNECT_SECONDS}
    connection = psycopg.connect(
        dsn,
        autocommit=True,
        **{name: value for name, value in defaults.items() if name not in given},  # type: ignore[arg-type]
    )
    try:
        connection.execute("set timezone = 'UTC'")
        if role is not None:
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    except BaseException:
        connection.close()
        raise
    connection.autocommit = autocommit
    return connection
