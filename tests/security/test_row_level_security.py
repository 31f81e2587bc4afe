"""Attempts to see another project's rows, by people who can type SQL and by services that hold a session token.

Project alpha has five rows in each raw table, project beta seven. ``analyst`` is a login that is a member of alpha;
``service`` is a login that may act as the tenant roles and carries a token when a test gives it one.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pipelines.database import connect
from tests.execution_tenants import TABLES, add_executions
from tests.optimization import register

ROWS = {"alpha": 5, "beta": 7}


@dataclass(frozen=True)
class Tenants:
    """A database with two projects, and two logins to attack it with."""

    dsn: str
    analyst: str
    service: str

    def token(self, project: str, lifetime: str = "1 hour") -> str:
        with connect(self.dsn) as owner:
            return owner.execute("select app.open_session(%s, %s::interval)", [project, lifetime]).fetchone()[0]


@pytest.fixture(scope="module")
def tenants(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Tenants]:
    suffix = os.urandom(4).hex()
    with migrated_database() as dsn:
        found = Tenants(dsn, analyst=f"analyst_{suffix}", service=f"service_{suffix}")
        with connect(dsn, autocommit=True) as owner:
            for login in (found.analyst, found.service):
                owner.execute(f"create role {login} login noinherit")
                owner.execute(f"grant app_readonly, app_user, app_admin to {login}")
            owner.execute("select ops.ensure_month_partitions('2026-03-01', '2026-03-01')")
            for project, count in ROWS.items():
                register(owner, project)
                add_executions(owner, project, count)
            owner.execute("insert into app.project_members values ('alpha', %s)", [found.analyst])
            owner.execute("analyze raw.command_executions, raw.model_requests, raw.tool_calls")
        yield found
        with connect(dsn, autocommit=True) as owner:
            owner.execute(f"drop role {found.analyst}, {found.service}")


@pytest.fixture
def analyst(tenants: Tenants) -> Iterator[psycopg.Connection]:
    """Member of alpha, as app_readonly."""
    with connect(make_conninfo(tenants.dsn, user=tenants.analyst), role="app_readonly", autocommit=True) as opened:
        yield opened


@pytest.fixture
def service(tenants: Tenants) -> Iterator[psycopg.Connection]:
    """Member of nothing, as app_user, without a token yet."""
    with connect(make_conninfo(tenants.dsn, user=tenants.service), role="app_user", autocommit=True) as opened:
        yield opened


def count(connection: psycopg.Connection, table: str = "raw.command_executions") -> int:
    return connection.execute(f"select count(*) from {table}").fetchone()[0]


def set_token(connection: psycopg.Connection, token: str) -> None:
    connection.execute("select set_config('app.token', %s, false)", [token])


@pytest.mark.parametrize("table", [*TABLES, "app.project_config", "app.project_members"])
def test_member_and_token_holder_see_their_project_and_no_other(tenants, analyst, service, table):
    set_token(service, tenants.token("alpha"))
    for connection in (analyst, service):
        projects = [project for (project,) in connection.execute(f"select project_id from {table}")]
        assert set(projects) == {"alpha"}
        assert len(projects) == (5 if table in TABLES else 1)


def test_platform_roles_see_every_project(tenants):
    for role in ("tracemill_ingest", "tracemill_dbt", "tracemill_owner"):
        with connect(tenants.dsn, role=role) as connection:
            assert [count(connection, table) for table in TABLES] == [12, 12, 12]


@pytest.mark.parametrize("token", [None, "", " ", "alpha", "beta", "0" * 64, "' or true --", "\\x00"])
def test_no_token_or_a_made_up_one_shows_nothing(service, token):
    if token is not None:
        set_token(service, token)
    assert [count(service, table) for table in TABLES] == [0, 0, 0]


def test_token_that_has_expired_shows_nothing(tenants, service):
    set_token(service, tenants.token("alpha", "-1 second"))
    assert count(service) == 0


def test_token_of_a_transaction_is_gone_after_it(tenants, service):
    with service.transaction():
        service.execute("select set_config('app.token', %s, true)", [tenants.token("beta")])
        assert count(service) == 7
    assert count(service) == 0


def test_settings_that_only_name_a_project_are_no_authority(analyst):
    for setting in ("app.project_id", "app.user_id", "app.current_project", "app.project"):
        analyst.execute("select set_config(%s, 'beta', false)", [setting])
    assert count(analyst) == 5


def test_prepared_statement_follows_the_token_not_the_first_plan(tenants, service):
    service.execute("prepare counted as select count(*) from raw.command_executions")
    for project in ("alpha", "beta") * 6:
        set_token(service, tenants.token(project))
        assert service.execute("execute counted").fetchone() == (ROWS[project],)


@pytest.mark.parametrize(
    "attack",
    [
        "set role tracemill_dbt",
        "set role tracemill_ingest",
        "set role tracemill_owner",
        "set role postgres",
        "select set_config('role', 'tracemill_dbt', false)",
        "set session authorization postgres",
        "select count(*) from partitions.command_executions_2026_03",
        "select count(*) from partitions.command_executions_default",
        "select * from priv.sessions",
        "select app.open_session('beta')",
        "select * from ops.ingest_files",
        "select ops.ensure_month_partitions('2030-01-01', '2030-01-01')",
        "insert into raw.tool_calls select * from raw.tool_calls",
        "update raw.command_executions set project_id = 'beta'",
        "delete from raw.command_executions",
        "merge into raw.tool_calls as t using raw.tool_calls as s on false when not matched then do nothing"
        " when matched then delete",
        "truncate raw.command_executions",
        "insert into app.project_members values ('beta', session_user)",
        "copy raw.tool_calls from stdin",
        "do 'begin lock table raw.command_executions in access exclusive mode; end'",
        "alter table raw.command_executions disable row level security",
        "create policy mine on raw.command_executions using (true)",
        "create table public.mine ()",
        "create table marts.mine ()",
        "create schema mine",
        "select lo_import('/etc/passwd')",
        "select pg_read_file('/etc/passwd')",
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/out'",
    ],
)
def test_attack_is_refused_for_lack_of_rights(analyst, attack):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute(attack)


def test_switching_row_security_off_is_an_error_not_a_way_in(analyst):
    analyst.execute("set row_security = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        count(analyst)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("(select project_id from raw.tool_calls)", 5), ("raw.tool_calls (project_id)", 0)],  # a parent has no rows itself
)
def test_copy_gives_own_rows_only(analyst, source, expected):
    with analyst.cursor().copy(f"copy {source} to stdout") as copy:
        assert [bytes(line) for line in copy] == [b"alpha\n"] * expected


def test_statistics_do_not_show_values_of_other_projects(analyst):
    """pg_stats holds real values: of partitions and of tables with row-level security nobody may see them."""
    rows = analyst.execute(
        "select * from pg_stats where schemaname in ('raw', 'partitions', 'priv', 'ops') or tablename like 'project_%'"
    ).fetchall()
    assert rows == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute("select * from pg_statistic")


def test_condition_that_leaks_what_it_is_given_is_given_own_rows_only(analyst):
    seen: list[str] = []
    analyst.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
    analyst.execute(
        """
        create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0001 as
        $$ begin raise notice '%', $1; return true; end $$
        """
    )
    for table, column in (
        ("command_executions", "command_raw"),
        ("model_requests", "model"),
        ("tool_calls", "tool_name"),
    ):
        analyst.execute(f"select * from raw.{table} where pg_temp.leak({column})")
    assert seen == ["secret of alpha"] * 15


def test_temporary_objects_do_not_stand_in_for_those_of_security_functions(tenants, service):
    """What the policy's function names is found by schema, whatever the caller puts in front of the path."""
    service.execute("create temporary table project_members (project_id text, member_role name)")
    service.execute("insert into project_members values ('beta', session_user)")
    service.execute("create temporary table sessions (token_hash bytea, project_id text, expires_at timestamptz)")
    service.execute("insert into sessions values (sha256('x'), 'beta', 'infinity')")
    service.execute(
        "create function pg_temp.now() returns timestamptz language sql as $$ select '-infinity'::timestamptz $$"
    )
    service.execute("create function pg_temp.sha256(bytea) returns bytea language sql as $$ select ''::bytea $$")
    service.execute("set search_path = pg_temp, app, priv, pg_catalog")
    set_token(service, "x")
    assert count(service) == 0
    set_token(service, tenants.token("beta", "-1 second"))
    assert count(service) == 0


def test_own_view_does_not_widen_what_its_maker_sees(analyst):
    analyst.execute("create temporary view everything as select * from raw.command_executions")
    assert count(analyst, "everything") == 5


def test_tokens_of_others_do_not_show_in_the_list_of_sessions(tenants, service):
    token = tenants.token("beta")
    set_token(service, token)
    listing = "select query from pg_stat_activity where query is not null"
    spy = connect(make_conninfo(tenants.dsn, user=tenants.service), autocommit=True)
    with spy, pytest.raises(psycopg.errors.InsufficientPrivilege):
        spy.execute(listing)
    with connect(tenants.dsn, autocommit=True) as administrator:
        queries = [query for (query,) in administrator.execute(listing)]
    assert any("set_config" in query for query in queries), "the administrator does see the other session"
    assert not any(token in query for query in queries)


def test_tokens_are_stored_as_hashes_only(tenants):
    token = tenants.token("beta")
    with connect(tenants.dsn) as owner:
        stored = owner.execute(
            "select encode(token_hash, 'escape'), encode(token_hash, 'hex') from priv.sessions"
        ).fetchall()
    assert stored
    assert not any(token in text for row in stored for text in row)


def test_session_of_an_unknown_project_is_refused(tenants):
    with pytest.raises(psycopg.errors.NoDataFound, match="project gamma is not registered"):
        tenants.token("gamma")
