"""Those who read the warehouse under its policies: a person with a login, a service with a session token."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pipelines.database import connect

LOGIN, TOKEN = "analyst login", "session token"

_ANALYST = "bench_analyst"


@contextmanager
def readers(dsn: str) -> Iterator[dict[str, psycopg.Connection]]:
    """A connection for each of LOGIN and TOKEN; ``let_in`` says what they may see."""
    with connect(dsn, autocommit=True) as owner:
        owner.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(_ANALYST)))
        owner.execute(sql.SQL("create role {} login in role app_readonly").format(sql.Identifier(_ANALYST)))
    with (
        connect(make_conninfo(dsn, user=_ANALYST), autocommit=True) as analyst,
        connect(dsn, autocommit=True) as service,
    ):
        service.execute("set role app_readonly")
        for connection in (analyst, service):
            # Projects differ by a factor of a hundred, so a plan kept for all values suits none.
            connection.prepare_threshold = None
        yield {LOGIN: analyst, TOKEN: service}


def let_in(owner: psycopg.Connection, service: psycopg.Connection, project: str) -> None:
    """Makes the analyst a member of this project alone, and hands the service a token for it."""
    owner.execute("delete from app.project_members where member_role = %s", [_ANALYST])
    owner.execute("insert into app.project_members (project_id, member_role) values (%s, %s)", [project, _ANALYST])
    token = owner.execute("select app.open_session(%s)", [project]).fetchone()
    service.execute("select set_config('app.token', %s, false)", [token and token[0]])
