"""Database errors as one sentence: what is wrong, where, what to do. Never with a password in it.

libpq gives no error code when a connection fails, so those errors are told apart by its English messages; the
connection of the embedded server and of most others speaks English, and what is not recognised is passed on.
"""

import re

import psycopg
from psycopg import errors

_VARIABLE = "TRACEMILL_DATABASE_URL (or DATABASE_URL)"

# Message of a failed connection → what is wrong, what to do.
_CONNECTION_FAILURES = (
    (r"password authentication failed|no password supplied", "refuses the password of login {user}",
     f"correct it in {_VARIABLE}"),
    (r'role ".*" does not exist', "has no login {user}", f"create it, or correct {_VARIABLE}"),
    (r'database ".*" does not exist', "has no database {database}", f"create it, or correct {_VARIABLE}"),
    (r"no pg_hba\.conf entry|peer authentication failed|authentication failed",
     "does not let login {user} in from here", "ask its administrator for access (pg_hba.conf)"),
    (r"permission denied for database", "does not let login {user} into database {database}",
     "ask its administrator for the CONNECT right"),
    (r"connection refused", "is down: the connection was refused", f"start the server, or correct {_VARIABLE}"),
    (r"no such file or directory", "is down: its socket is missing",
     f"start it (`tracemill db start` for the embedded one), or correct {_VARIABLE}"),
    (r"timeout expired|timed out|no route to host|network is unreachable", "cannot be reached: nothing answers",
     f"check the network and {_VARIABLE}"),
    (r"too many clients|remaining connection slots", "has no connection left",
     "close idle sessions or raise max_connections, then run the command again"),
    (r"starting up|shutting down|in recovery mode|not yet accepting", "is starting or stopping",
     "run the command again in a moment"),
    (r"no space left on device", "has a full disk", "free space where its data live, then run the command again"),
    (r"SSL|certificate", "and this client do not agree on encryption", f"correct sslmode in {_VARIABLE}"),
)  # fmt: skip

# SQLSTATE of an error on a working connection → what is wrong, what to do. The server's own words stand between.
_SERVER_ERRORS: dict[type[psycopg.Error], tuple[str, str]] = {
    errors.DiskFull: (
        "The database server's disk is full",
        "nothing was half-written: free space where its data live, then run the same command again",
    ),
    errors.OutOfMemory: ("The database server is out of memory", "lower its work_mem or give it more memory"),
    errors.TooManyConnections: ("The database has no connection left", "close idle sessions or raise max_connections"),
    errors.InsufficientPrivilege: ("The login lacks a right", "ask the owner of the database for it"),
    errors.InvalidSchemaName: ("The database is not set up", "run `tracemill db migrate`"),
    errors.UndefinedTable: (
        "The database lacks a table",
        "check the name; a new database needs `tracemill db migrate`",
    ),
    errors.UndefinedFunction: ("The database lacks a function", "run `tracemill db migrate`"),
    errors.ReadOnlySqlTransaction: ("The database is read-only", "connect to the primary server"),
    errors.LockNotAvailable: (
        "Another session holds a lock for too long",
        "run the command again when it has finished",
    ),
    errors.DeadlockDetected: ("Two sessions blocked each other", "run the command again"),
    errors.SerializationFailure: ("Another session changed the same rows", "run the command again"),
    errors.QueryCanceled: ("The statement took longer than it may", "narrow it down, or raise statement_timeout"),
}

_LOST = (
    "The connection to the database was lost: nothing was half-written; run the same command again when the server "
    "is back."
)
_CONNECTION_LOST = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow)


class InvalidDsnError(psycopg.OperationalError):
    """The DSN cannot be read. The message quotes nothing of it, since any part may be a piece of a password."""

    def __init__(self) -> None:
        super().__init__(
            f"{_VARIABLE} is not a PostgreSQL address: write postgresql://user:password@host:port/database, with "
            "special characters of the password percent-encoded."
        )


def describe_error(error: BaseException) -> str:
    """One sentence for the user. Errors of other origin keep their own words, less any password."""
    if isinstance(error, InvalidDsnError):
        return str(error)
    if not isinstance(error, psycopg.Error):
        return _without_passwords(str(error))
    if error.sqlstate is None:
        return _describe_connection_error(error)
    if isinstance(error, errors.QueryCanceled) and not is_timeout(error):
        reason = _without_passwords(error.diag.message_primary or "")
        return f"The statement was cancelled by somebody else ({reason}): run it again."
    for kind, (problem, remedy) in _SERVER_ERRORS.items():
        if isinstance(error, kind):
            return f"{problem} ({_without_passwords(error.diag.message_primary or '')}): {remedy}."
    if isinstance(error, _CONNECTION_LOST) or error.sqlstate.startswith("08"):
        return _LOST
    return f"The database reports: {_without_passwords(error.diag.message_primary or '')} (SQLSTATE {error.sqlstate})."


def is_timeout(error: errors.QueryCanceled) -> bool:
    """Whether the statement was cancelled for its time; one code stands for that and for a person's cancelling."""
    return "statement timeout" in (error.diag.message_primary or "")


def _describe_connection_error(error: psycopg.Error) -> str:
    text = str(error)
    unresolved = re.search(r"failed to resolve host '(.*)': (.*)", text)
    if re.search(r"invalid (integer value|port number|\S+ value)|Servname not supported", text) or (
        unresolved and "@" in unresolved[1]  # an @ in the password makes the rest of it part of the host
    ):
        return str(InvalidDsnError())
    if unresolved:
        return f"The host name {unresolved[1]} is not known: correct {_VARIABLE}."
    if error.pgconn is None or re.search(r"closed|is lost|consuming input|server process", text):
        return _LOST if re.search(r"clos|lost|consuming|terminat", text) else _as_reported(text)
    host = _decoded(error.pgconn.host)
    where = host if host.startswith("/") else f"{host or 'localhost'}:{_decoded(error.pgconn.port)}"
    for pattern, problem, remedy in _CONNECTION_FAILURES:
        if re.search(pattern, text, re.IGNORECASE):
            problem = problem.format(user=_decoded(error.pgconn.user), database=_decoded(error.pgconn.db))
            return f"The database server at {where} {problem}: {remedy}."
    return f"The database server at {where} cannot be used. {_as_reported(text)}"


def _as_reported(text: str) -> str:
    return f"The database reports: {_without_passwords(text.strip().split(chr(10), 1)[0].rstrip('.'))}."


def _without_passwords(text: str) -> str:
    text = re.sub(r"(\w+://[^\s:/@]*):[^\s/]*@", r"\1:***@", text)
    return re.sub(r"(password\s*=\s*)('[^']*'|\S+)", r"\1***", text, flags=re.IGNORECASE)


def _decoded(value: bytes) -> str:
    return value.decode(errors="replace")
