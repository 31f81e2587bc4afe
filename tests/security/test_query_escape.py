"""Whoever asks with ``tracemill query`` sees one project and changes nothing, whatever the statement says."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pipelines.cli import reader
from pipelines.database import connect
from pipelines.settings import Settings

OWN, OTHER = "own-project", "other-project"


def as_role(role: str, query: str) -> str:
    """A statement that becomes ``role`` while it runs and then has ``query`` (one column of text) run as that role.

    ts_stat executes SQL that it is given as text; the lateral join makes the switch come first.
    """
    inner = f"select array_to_tsvector(array[({query})::text])".replace("'", "''")
    return (
        f"select word from (select set_config('role', '{role}', false) as role offset 0) as switched, "
        f"lateral ts_stat(left(switched.role, 0) || '{inner}')"
    )


OTHER_ROW = f"select project_id from raw.model_requests where project_id = '{OTHER}'"


@pytest.fixture
def asking(settings: Settings, dsn: str) -> Settings:
    """Settings of an external database with a reader's login; each project has one request."""
    with connect(dsn) as connection:
        for project in (OWN, OTHER):
            connection.execute(
                "insert into app.project_config (project_id, display_name) values (%s, %s)", [project, project]
            )
            connection.execute(
                "insert into raw.model_requests (project_id, request_key, timestamp, message_id, execution_id, model, "
                "cost_status, source, source_file_key, source_offset, output_tokens) values "
                "(%s, 'key', '2026-10-01', 'message', gen_random_uuid(), 'model', 'unpriced', 'test', 'file', 0, 7)",
                [project],
            )
    return replace(settings, reader_database_url=make_conninfo(dsn, user=reader.READER))


def ask(settings: Settings, statement: str, seconds: int = 20) -> list[tuple[Any, ...]]:
    with reader.ask(settings, statement, project=OWN, seconds=seconds) as answer:
        return list(answer.rows)


def test_only_the_rows_of_the_project_are_seen(asking: Settings) -> None:
    assert ask(asking, "select project_id from raw.model_requests") == [(OWN,)]
    assert ask(asking, "select project_id from project_config") == [(OWN,)]
    assert ask(asking, f"select count(*) from raw.model_requests where project_id = '{OTHER}'") == [(0,)]


@pytest.mark.parametrize(
    "statement",
    [
        # Becoming somebody else: the role is switched while the statement runs, then SQL is run as that role.
        as_role("none", OTHER_ROW),
        as_role("tracemill_reader", OTHER_ROW),
        as_role("tracemill_ingest", OTHER_ROW),
        "select set_config('role', 'postgres', false)",
        "select set_config('role', 'tracemill_ingest', false)",
        "select set_config('role', 'tracemill_dbt', false)",
        "select set_config('role', 'service_role', false)",
        "select set_config('session_authorization', 'postgres', false)",
        "select app.open_session('other-project')",
        "select * from priv.sessions",
        "select * from partitions.model_requests_default",
        "select * from ops.ingest_files",
        # What others asked.
        "select query from pg_stat_statements",
        "select query from pg_stat_statements(true)",
        as_role("none", "select string_agg(query, ' ') from pg_stat_activity"),
        as_role("none", "select string_agg(pg_stat_get_backend_activity(n), '') from pg_stat_get_backend_idset() as n"),
        # Files, programs, other servers.
        "select pg_read_file('/etc/passwd')",
        "select pg_read_binary_file('PG_VERSION')",
        "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')",
        "select lo_from_bytea(0, 'x')",
        "select * from dblink('dbname=postgres', 'select 1') as t (n int)",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'",
        as_role("none", "select pg_cancel_backend(0)"),
        as_role("none", "select pg_terminate_backend(0)"),
        "select pg_reload_conf()",
        # Writing, in a transaction that is read-only and cannot be made another.
        "with gone as (delete from raw.model_requests returning 1) select * from gone",
        "select set_config('transaction_read_only', 'off', true)",
        "select nextval('pg_catalog.pg_toast_oid')",
        "explain analyze delete from raw.model_requests",
        # Standing in the way of ingest and migrations.
        "select pg_advisory_lock(7226310744811520019)",
        "select pg_try_advisory_lock_shared(1, 2)",
        "select pg_advisory_xact_lock(1)",
        "select * from raw.model_requests for update",
        # What is no question at all.
        "set role none",
        "reset role",
        "commit",
        "do $$ begin perform 1; end $$",
        "listen anything",
        "create temp table t (n int)",
        "copy (select 1) to program 'touch /tmp/tracemill-escaped'",
        "copy raw.model_requests to stdout",
        "prepare p as select 1",
        "lock table raw.model_requests",
        "insert into raw.tool_calls default values",
        "drop table raw.tool_calls",
        # More than one statement.
        "select 1; set role none; select * from raw.model_requests",
        "select 1; commit; drop table raw.tool_calls",
        "explain select 1; set role none",
    ],
)
def test_statement_is_refused(asking: Settings, statement: str) -> None:
    with pytest.raises(psycopg.Error):
        ask(asking, statement)
    assert not Path("/tmp/tracemill-escaped").exists()


@pytest.mark.parametrize(
    "statement",
    [
        as_role("app_readonly", "select string_agg(project_id, ' ') from raw.model_requests"),
        "select set_config('app.token', repeat('0', 64), true), "
        "(select string_agg(project_id, ' ') from raw.model_requests)",
        "select left(set_config('app.project_id', 'other-project', false), 0), (select project_id from model_requests)",
        "select * from app.project_members",
        "explain (analyze, verbose) select * from raw.model_requests",
        "select most_common_vals::text from pg_stats where schemaname in ('raw', 'partitions')",
        "select query from pg_stat_activity where usename = 'postgres'",
    ],
)
def test_answer_shows_nothing_of_another_project(asking: Settings, statement: str, dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        connection.execute("analyze raw.model_requests")
    assert OTHER not in str(ask(asking, statement))


def test_row_security_cannot_be_switched_off(asking: Settings) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(
            asking,
            "select set_config('row_security', 'off', true), query_to_xml('table model_requests', true, true, '')",
        )


def test_reader_login_owns_nothing_and_inherits_nothing(asking: Settings) -> None:
    with connect(asking.reader_database_url or "") as connection:
        for statement in ("select * from raw.model_requests", "select * from app.project_config"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)
        (roles,) = connection.execute(
            "select array_agg(rolname::text) from pg_roles where pg_has_role(current_user, oid, 'member')"
        ).fetchone()
    assert sorted(roles) == ["app_readonly", "tracemill_reader"]


def test_statement_that_takes_too_long_is_stopped(asking: Settings) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        ask(asking, "select set_config('statement_timeout', '0', false), pg_sleep(30)", seconds=1)


@pytest.fixture
def concurrent_write(asking: Settings, dsn: str) -> Iterator[threading.Event]:
    with connect(dsn) as connection:
        connection.execute("update raw.model_requests set output_tokens = 8")
        yield threading.Event()


def test_question_does_not_wait_for_writers(asking: Settings, concurrent_write: threading.Event) -> None:
    assert ask(asking, "select output_tokens from model_requests", seconds=5) == [(7,)]


def test_token_dies_soon_after_the_question(asking: Settings, dsn: str) -> None:
    (token,) = ask(asking, "select current_setting('app.token')", seconds=5)[0]
    with connect(dsn) as connection:
        (seconds,) = connection.execute(
            "select extract(epoch from expires_at - now()) from priv.sessions "
            "where token_hash = sha256(convert_to(%s, 'UTF8'))",
            [token],
        ).fetchone()
    assert 0 < seconds <= 65


def test_large_answer_is_read_in_pieces(asking: Settings) -> None:
    """Ten million rows would not fit: the first ones arrive, the rest is never made."""
    with reader.ask(asking, "select generate_series(1, 10000000)", project=OWN, seconds=60) as answer:
        assert next(answer.rows) == (1,)


def test_platform_login_is_never_in_an_error(asking: Settings) -> None:
    environment = {
        "TRACEMILL_DATABASE_URL": "postgresql://platform:verysecret@127.0.0.1:1/none",
        "TRACEMILL_HOME": str(asking.home),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "query", "select 1"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "verysecret" not in done.stdout + done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
