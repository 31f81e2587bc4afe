"""A database of two projects and the logins that attack it: what security tests of each domain share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from pipelines.database import connect
from tests.evaluation_rows import value
from tests.evaluation_tenants import member

WRITES = (
    "insert into {0} (project_id) values ('beta') on conflict do nothing",
    "update {0} set project_id = 'beta'",
    "delete from {0}",
    "merge into {0} as t using {0} as s on true when matched then delete",
    "truncate {0}",
    "copy {0} from stdin",
)
"""Statements that no tenant role may run on a table."""


@dataclass(frozen=True)
class World:
    """DSNs, by who connects."""

    dsn: str
    """Its owner."""
    member: str
    """A login that is a member of alpha."""
    stranger: str
    """A login that is a member of nothing."""

    def give_token(self, connection: psycopg.Connection, project: str) -> None:
        """The session may see what a holder of a token for ``project`` may."""
        with connect(self.dsn) as owner:
            token = value(owner, "select app.open_session(%s)", project)
        connection.execute("select set_config('app.token', %s, false)", [token])


@contextmanager
def attackers(dsn: str) -> Iterator[World]:
    """Logins of the block's own for the database, in which alpha is a project."""
    suffix = os.urandom(4).hex()
    with member(dsn, f"member_{suffix}", "alpha") as alpha, member(dsn, f"stranger_{suffix}") as nobody:
        yield World(dsn, alpha, nobody)
