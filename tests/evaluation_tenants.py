"""Projects that share every id, and logins that belong to some of them: what security tests of evaluations attack."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pipelines.database import connect
from tests.evaluation_rows import Evaluation, add, add_embedding, add_evaluation, add_outcome

SHARED_IDS: Mapping[str, UUID] = {
    name: UUID(int=number)
    for number, name in enumerate(
        ("config_id", "version_id", "diff_id", "simulation_id", "outcome_id", "pattern_id", "recommendation_id"), 1
    )
}


def fill(connection: psycopg.Connection, outcomes: Mapping[str, int]) -> dict[str, Evaluation]:
    """An evaluation per project, with the same ids everywhere and as many attempts and embedded errors as asked."""
    connection.execute("select ops.ensure_month_partitions('2026-03-01', '2026-03-01')")
    made = {}
    for place, (project, count) in enumerate(outcomes.items()):
        add(connection, "app.project_config", project_id=project, display_name=project)
        made[project] = add_evaluation(connection, project, f"secret of {project}", SHARED_IDS)
        for epoch in range(2, count + 1):
            add_outcome(connection, made[project], epoch=epoch, tokens_used=100 * epoch + place)
            add_embedding(connection, project, "error", f"c{epoch}", [1.0, epoch / 100, place])
    return made


@contextmanager
def member(dsn: str, login: str, *projects: str) -> Iterator[str]:
    """DSN of a new login that may take the tenant roles and is a member of ``projects``; dropped afterwards."""
    role = sql.Identifier(login)
    with connect(dsn, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login noinherit").format(role))
        owner.execute(
            sql.SQL("grant service_role, authenticated, app_user, app_admin, app_readonly to {}").format(role)
        )
        for project in projects:
            owner.execute("insert into app.project_members values (%s, %s)", [project, login])
    try:
        yield make_conninfo(dsn, user=login)
    finally:
        with connect(dsn, autocommit=True) as owner:
            owner.execute(sql.SQL("drop owned by {}").format(role))
            owner.execute(sql.SQL("drop role {}").format(role))
