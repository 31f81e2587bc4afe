"""The one place where errors become what a person reads: a sentence with what, where and what to do.

Exit status: 1 for what went wrong while working, 2 for a call that cannot work as it was written (Typer's own, and
``typer.BadParameter`` from our commands). TRACEMILL_DEBUG=1 adds the traceback.
"""

import errno
import sys
import traceback

from pipelines.settings import wants_traceback

_OF_DATABASE = frozenset({"psycopg"})
_SENTENCES = frozenset(
    {
        "AggregationBusyError",
        "ArchiveError",
        "BadPeriodError",
        "BadProject",
        "DagsterHomeError",
        "DbtProjectError",
        "EmbeddedServerError",
        "EmbedderError",
        "InvalidDsnError",
        "MaintenanceBusyError",
        "MigrationError",
        "MonitoringMissingError",
        "SettingsError",
        "Unreadable",
        "WorkerDied",
    }
)
"""Exceptions of our own modules whose message already is the sentence; by name, so that none is imported for it."""


class CommandError(Exception):
    """Ends a command with exit status 1; the message is the sentence to show."""


def report(error: BaseException) -> int:
    """Writes what to tell the person to stderr and returns the exit status."""
    if wants_traceback():
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write("\nStopped. What was committed is kept; the same command goes on from there.\n")
        return 130
    sys.stderr.write(f"Error: {sentence(error)}\n")
    return 1


def sentence(error: BaseException) -> str:
    """What went wrong, where and what to do."""
    if isinstance(error, CommandError) or type(error).__name__ in _SENTENCES:
        return str(error)
    if type(error).__module__.partition(".")[0] in _OF_DATABASE:
        from pipelines.database import describe_error

        return describe_error(error)
    if isinstance(error, OSError):
        return _operating_system(error)
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is not installed: run `make install`, or pip install tracemill again."
    kind = type(error).__name__
    return f"{kind}: {error}. This is a defect of tracemill: run again with TRACEMILL_DEBUG=1 and report what it shows."


def _operating_system(error: OSError) -> str:
    where = error.filename or "a file"
    remedies = {
        errno.ENOSPC: "free space on that disk and run the same command again; nothing is half-written",
        errno.EACCES: "check its permissions",
        errno.EPERM: "check its permissions",
        errno.ENOENT: "check the path",
        errno.EROFS: "set TRACEMILL_HOME to a folder that can be written",
    }
    return f"{where}: {error.strerror or error}; {remedies.get(error.errno or 0, 'mend that and run it again')}."
