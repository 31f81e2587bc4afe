"""One maintenance of a warehouse at a time: what one archives, restores or drops, no other may touch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

_LOCK = "hashtextextended('tracemill.maintenance', 0)"
_POLL_SECONDS = 0.5


class MaintenanceBusyError(Exception):
    """Another session does what this one would have to do; the message is a sentence for the user."""


@contextmanager
def maintenance_lock(connection: psycopg.Connection[Any], wait_seconds: float) -> Iterator[None]:
    """Hold the warehouse's maintenance lock for the length of the block; the connection is in autocommit mode.

    The lock goes with the connection, however that ends. Raises MaintenanceBusyError after ``wait_seconds``.
    """
    # A process that dies in the middle of a long statement must not hold the lock until the statement ends.
    connection.execute("set client_connection_check_interval = '2s'")
    deadline = time.monotonic() + wait_seconds
    while connection.execute(f"select pg_try_advisory_lock({_LOCK})").fetchone() != (True,):
        if time.monotonic() >= deadline:
            raise MaintenanceBusyError(
                "Another maintenance job is running in this database: wait for it to end, then start yours again."
            )
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(f"select pg_advisory_unlock({_LOCK})")
