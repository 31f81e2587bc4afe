"""The work list of days, the closing of old prompts, and the environment that dbt and Dagster get."""

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from pipelines.database import connect
from pipelines.maintenance import aggregation, dbt, reaper
from pipelines.maintenance.dagster_home import DagsterHomeError, prepare_dagster_home, sqlalchemy_url
from pipelines.settings import Settings

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
MOMENT = datetime(2026, 3, 10, 2, tzinfo=UTC)


@pytest.fixture
def dbt_connection(dsn: str) -> psycopg.Connection:
    return connect(dsn, role="tracemill_dbt", autocommit=True)


def touch(connection: psycopg.Connection, day: date, project: str = "shop") -> None:
    connection.execute(
        "insert into ops.touched_days (project_id, activity_date) values (%s, %s) "
        "on conflict (activity_date, project_id) do update set touched_at = clock_timestamp()",
        [project, day],
    )


def listed(connection: psycopg.Connection) -> list[date]:
    return [day for (day,) in connection.execute("select activity_date from ops.aggregation_days order by 1")]


def touched(connection: psycopg.Connection) -> list[date]:
    return [day for (day,) in connection.execute("select activity_date from ops.touched_days order by 1")]


def log(connection: psycopg.Connection) -> list[tuple[str, str | None]]:
    return connection.execute("select status, detail from ops.refresh_log order by refresh_id").fetchall()


def test_a_plan_covers_the_days_asked_for_and_the_days_touched(dbt_connection: psycopg.Connection) -> None:
    touch(dbt_connection, FIRST)
    plan = aggregation.plan(dbt_connection, THIRD, THIRD)
    assert plan.days == (FIRST, THIRD)
    assert listed(dbt_connection) == [FIRST, THIRD]
    aggregation.complete(dbt_connection, plan)
    assert (listed(dbt_connection), touched(dbt_connection)) == ([], [])
    assert log(dbt_connection) == [("succeeded", None)]


def test_a_day_touched_while_it_is_aggregated_stays_pending(dbt_connection: psycopg.Connection) -> None:
    touch(dbt_connection, FIRST)
    touch(dbt_connection, SECOND)
    plan = aggregation.plan(dbt_connection, None, None)
    touch(dbt_connection, SECOND)
    touch(dbt_connection, THIRD)
    aggregation.complete(dbt_connection, plan)
    assert touched(dbt_connection) == [SECOND, THIRD]


def test_days_of_an_aggregation_that_failed_are_taken_by_the_next(dbt_connection: psycopg.Connection) -> None:
    touch(dbt_connection, FIRST)
    with (
        pytest.raises(RuntimeError),
        aggregation.recorded(dbt_connection, aggregation.plan(dbt_connection, SECOND, SECOND)),
    ):
        raise RuntimeError("the disk is full")
    assert log(dbt_connection) == [("failed", "the disk is full")]
    assert aggregation.plan(dbt_connection, THIRD, THIRD).days == (FIRST, SECOND, THIRD)


def test_days_of_an_aggregation_that_died_are_taken_by_the_next(dsn: str, dbt_connection: psycopg.Connection) -> None:
    dying = connect(dsn, role="tracemill_dbt", autocommit=True)
    aggregation.plan(dying, FIRST, SECOND)
    dying.close()
    plan = aggregation.plan(dbt_connection, THIRD, THIRD, wait_seconds=5)
    assert plan.days == (FIRST, SECOND, THIRD)
    assert log(dbt_connection) == [("failed", "The process ended before the aggregation did."), ("running", None)]


def test_two_aggregations_never_overlap(dsn: str, dbt_connection: psycopg.Connection) -> None:
    plan = aggregation.plan(dbt_connection, FIRST, FIRST)
    with connect(dsn, role="tracemill_dbt", autocommit=True) as other:
        with pytest.raises(aggregation.AggregationBusyError, match="Another aggregation is running"):
            aggregation.plan(other, SECOND, SECOND)
        assert listed(other) == [FIRST]
        aggregation.complete(dbt_connection, plan)
        assert aggregation.plan(other, SECOND, SECOND).days == (SECOND,)


def test_an_aggregation_of_some_models_leaves_what_the_others_need(dbt_connection: psycopg.Connection) -> None:
    touch(dbt_connection, FIRST)
    with (
        pytest.raises(RuntimeError),
        aggregation.recorded(dbt_connection, aggregation.plan(dbt_connection, SECOND, SECOND)),
    ):
        raise RuntimeError("half done")
    plan = aggregation.plan(dbt_connection, THIRD, THIRD, scope=aggregation.Scope.SOME)
    aggregation.complete(dbt_connection, plan)
    assert listed(dbt_connection) == [FIRST, SECOND]
    assert touched(dbt_connection) == [FIRST]


@pytest.fixture
def add_execution(connection: psycopg.Connection) -> Callable[..., None]:
    connection.execute("insert into app.project_config (project_id, display_name) values ('shop', 'shop')")
    connection.execute("select ops.ensure_month_partitions('2026-03-01', '2026-03-31')")

    def add(ended_at: datetime, status: str = "pending") -> None:
        connection.execute(
            """
            insert into raw.command_executions (
                project_id, id, timestamp, kind, command_raw, pattern_signature, device_id, sources, source_file_key,
                source_line, ended_at, status, status_reason
            )
            values ('shop', %s, %s, 'prompt', 'hello', 'v1:prompt', 'here', '{claude_code}', 'f', 1, %s, %s, 'test')
            """,
            [uuid.uuid4(), ended_at - timedelta(hours=1), ended_at, status],
        )
        connection.commit()

    return add


def test_only_prompts_silent_for_a_day_are_closed(
    dsn: str, connection: psycopg.Connection, add_execution: Callable[..., None]
) -> None:
    add_execution(MOMENT - timedelta(hours=24, seconds=1))
    add_execution(MOMENT - timedelta(hours=24))
    add_execution(MOMENT - timedelta(days=8), status="failed")
    with connect(dsn, role="tracemill_ingest", autocommit=True) as ingest:
        assert reaper.close_unanswered(ingest, MOMENT) == 1
        assert reaper.close_unanswered(ingest, MOMENT) == 0
    rows = connection.execute("select status, status_reason from raw.command_executions order by ended_at").fetchall()
    assert rows == [("failed", "test"), ("timeout", "no_end_in_sight"), ("pending", "test")]
    assert touched(connection) == [date(2026, 3, 9)]


def test_closing_works_in_batches_of_any_number(
    dsn: str, connection: psycopg.Connection, add_execution: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "_BATCH", 2)
    for _ in range(5):
        add_execution(MOMENT - timedelta(days=2))
    with connect(dsn, role="tracemill_ingest", autocommit=True) as ingest:
        assert reaper.close_unanswered(ingest, MOMENT) == 5


@pytest.mark.parametrize(
    ("dsn_text", "expected"),
    [
        (
            "postgresql://me@/shop?host=/run/a%20b",
            {"PGHOST": "/run/a b", "PGPORT": "5432", "PGUSER": "me", "PGDATABASE": "shop"},
        ),
        (
            "postgresql://a%40b:p%25w%2F@db.example:6543/shop?sslmode=require&options=-c%20work_mem%3D1MB",
            {
                "PGHOST": "db.example",
                "PGPORT": "6543",
                "PGUSER": "a@b",
                "PGPASSWORD": "p%w/",
                "PGDATABASE": "shop",
                "PGSSLMODE": "require",
                "PGOPTIONS": "-c work_mem=1MB",
            },
        ),
        ("host=db user=me dbname=shop", {"PGHOST": "db", "PGPORT": "5432", "PGUSER": "me", "PGDATABASE": "shop"}),
    ],
)
def test_dbt_and_dagster_get_every_parameter_of_the_dsn(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, dsn_text: str, expected: dict[str, str]
) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    variables = dbt.environment(settings, dsn_text)
    assert {name: value for name, value in variables.items() if name.startswith("PG")} == expected

    url = sqlalchemy.engine.make_url(sqlalchemy_url(dsn_text, "shop_dagster"))
    assert url.drivername == "postgresql+psycopg2"
    _, seen = url.get_dialect()().create_connect_args(url)
    names = {
        "PGHOST": "host",
        "PGUSER": "user",
        "PGPASSWORD": "password",
        "PGOPTIONS": "options",
        "PGSSLMODE": "sslmode",
    }
    assert {name: seen.get(key) for name, key in names.items() if name in expected} == {
        name: expected[name] for name in names if name in expected
    }
    assert seen["dbname"] == "shop_dagster"


def test_a_login_that_may_not_create_databases_is_told_what_to_ask_for(
    dsn: str, settings: Settings, connection: psycopg.Connection
) -> None:
    login = f"login_{uuid.uuid4().hex[:12]}"
    connection.execute(f"create role {login} login")
    connection.commit()
    limited = dsn.replace("postgres@", f"{login}@")
    try:
        with pytest.raises(
            DagsterHomeError, match=f'may not create it: ask .* create database ".*_dagster" owner "{login}"'
        ):
            prepare_dagster_home(settings, limited)
    finally:
        connection.execute(f"drop role {login}")
        connection.commit()


def test_a_dbt_project_with_an_error_is_told_in_dbts_words(settings: Settings, dsn: str, tmp_path: Path) -> None:
    class Broken(Settings):
        @property
        def dbt_project(self) -> Path:
            return tmp_path / "project"

    broken = Broken(**vars(settings))
    with pytest.raises(dbt.DbtProjectError, match="The dbt project is missing"):
        dbt.prepare_manifest(broken, dsn)
    broken.dbt_project.mkdir()
    (broken.dbt_project / "dbt_project.yml").write_text("name: broken\nversion: '1.0.0'\nprofile: nowhere\n")
    with pytest.raises(dbt.DbtProjectError, match=r"dbt cannot read .*project: .*profile"):
        dbt.prepare_manifest(broken, dsn)
