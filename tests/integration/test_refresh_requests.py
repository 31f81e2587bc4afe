"""Asking for a refresh from SQL, what the hourly refresh takes along, and the job that makes it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime

import dagster as dg
import psycopg
import pytest

from pipelines import ingest
from pipelines.database import connect
from pipelines.defs.resources import Warehouse
from pipelines.maintenance import aggregation
from pipelines.maintenance.aggregation import Scope
from pipelines.samples import optimizations
from tests.dagster_world import World, dagster_world
from tests.marts import build, warehouse_environment
from tests.optimization import PROJECT, Iteration, add_iterations, add_run, insert, register, sample_row

DAY, OTHER_DAY = date(2026, 3, 1), date(2026, 3, 2)
TENANT_ROLES = ("service_role", "authenticated", "app_user", "app_admin", "app_readonly")


@pytest.fixture
def builder(dsn: str) -> Iterator[psycopg.Connection]:
    with connect(dsn, role="tracemill_dbt", autocommit=True) as opened:
        yield opened


def ask(connection: psycopg.Connection) -> tuple[str, datetime | None, datetime | None]:
    status, requested_at, refreshed_at, detail = connection.execute(
        "select * from app.refresh_optimization_analytics()"
    ).fetchone()
    assert detail.endswith(".")
    return status, requested_at, refreshed_at


def waiting(connection: psycopg.Connection) -> int:
    return connection.execute("select count(*) from ops.refresh_requests").fetchone()[0]


@pytest.mark.parametrize("role", TENANT_ROLES)
def test_every_tenant_role_may_ask_and_sees_nothing_else(dsn: str, builder: psycopg.Connection, role: str):
    with connect(dsn, role=role, autocommit=True) as caller:
        status, requested_at, refreshed_at = ask(caller)
        assert (status, refreshed_at) == ("requested", None)
        assert ask(caller) == ("waiting", requested_at, None)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            caller.execute("select * from ops.refresh_requests")
    assert waiting(builder) == 1


def test_a_read_only_transaction_is_told_that_nothing_was_recorded(dsn: str, builder: psycopg.Connection):
    with connect(dsn, role="app_readonly") as caller:
        caller.read_only = True
        assert ask(caller)[:2] == ("not recorded", None)
    assert waiting(builder) == 0


@pytest.mark.parametrize(("scope", "is_answered"), [(Scope.ALL, True), (Scope.ANALYTICS, True), (Scope.SOME, False)])
def test_a_build_of_the_marts_answers_the_requests_made_before_it(
    dsn: str, builder: psycopg.Connection, scope: Scope, is_answered: bool
):
    with connect(dsn, role="app_user", autocommit=True) as caller:
        ask(caller)
        plan = aggregation.plan(builder, None, None, scope=scope)
        assert ask(caller)[0] == ("requested" if is_answered else "waiting"), "what the build began with may be old"
        aggregation.complete(builder, plan)
        assert waiting(builder) == 1
        assert (ask(caller)[2] is not None) == is_answered


def test_requests_of_a_build_that_failed_are_answered_by_the_next(dsn: str, builder: psycopg.Connection):
    with connect(dsn, role="app_user", autocommit=True) as caller:
        ask(caller)
    aggregation.fail(builder, aggregation.plan(builder, None, None, scope=Scope.ANALYTICS), "the disk is full")
    assert waiting(builder) == 1
    aggregation.complete(builder, aggregation.plan(builder, None, None))
    assert waiting(builder) == 0
    scopes = builder.execute("select scope, status from ops.refresh_log order by refresh_id").fetchall()
    assert scopes == [("analytics", "failed"), ("all", "succeeded")]


def test_a_refresh_of_analytics_rebuilds_touched_days_and_leaves_them_for_the_other_marts(builder: psycopg.Connection):
    builder.execute("insert into ops.touched_days (project_id, activity_date) values ('shop', %s)", [DAY])
    builder.execute("insert into ops.aggregation_days (activity_date) values (%s)", [OTHER_DAY])
    plan = aggregation.plan(builder, None, None, scope=Scope.ANALYTICS)
    assert plan.days == (DAY, OTHER_DAY)
    aggregation.complete(builder, plan)
    assert builder.execute("select activity_date from ops.touched_days").fetchall() == [(DAY,)]
    assert builder.execute("select activity_date from ops.aggregation_days").fetchall() == [(OTHER_DAY,)]


@pytest.mark.parametrize(
    "change",
    [
        "insert into raw.optimization_samples (project_id, run_id, iteration, sample_index) values ('alpha', %s, 1, 9)",
        "update raw.optimization_samples set is_correct = false where run_id = %s",
        "delete from raw.optimization_samples where run_id = %s",
        "update raw.optimization_iterations set cost_usd = 1 where run_id = %s",
        "delete from raw.optimization_iterations where run_id = %s",
    ],
)
def test_a_run_says_that_it_changed_when_an_iteration_or_a_sample_did(connection: psycopg.Connection, change: str):
    register(connection, PROJECT)
    runs = [add_run(connection), add_run(connection)]
    for run in runs:
        add_iterations(connection, run, Iteration(1, 50))
        insert(connection, "optimization_samples", [sample_row(run, 1, 0, is_correct=True)])
    connection.commit()

    def versions() -> list[datetime]:
        query = "select updated_at from raw.optimization_runs where id = any(%s) order by id = %s"
        return [moment for (moment,) in connection.execute(query, [runs, runs[0]])]

    other, changed = versions()
    connection.commit()
    connection.execute(change, [runs[0]])
    connection.commit()
    assert versions()[0] == other
    assert versions()[1] > changed


def test_samples_that_come_back_from_the_archive_are_no_change(dsn: str, connection: psycopg.Connection):
    register(connection, PROJECT)
    run = add_run(connection)
    add_iterations(connection, run, Iteration(1, 50))
    connection.commit()
    query = "select updated_at from raw.optimization_runs"
    before = connection.execute(query).fetchone()
    with connect(dsn, role="tracemill_maintenance", autocommit=True) as maintenance:
        insert(maintenance, "optimization_samples", [sample_row(run, 1, 0)])
    assert connection.execute(query).fetchone() == before


@pytest.fixture(scope="module")
def world(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with dagster_world(migrated_database, tmp_path_factory.mktemp("world"), days=1, size_bytes=50_000) as made:
        yield made


@pytest.mark.slow
def test_the_job_builds_the_marts_it_names_and_answers_the_request(world: World):
    from pipelines.definitions import defs

    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def("requested_refreshes")
    schedule = repository.get_schedule_def("refresh_analytics_schedule")
    assert (schedule.cron_schedule, schedule.job.name) == ("30 * * * *", "refresh_analytics")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    truth = optimizations.write(world.settings.home / "runs")
    ingest.run([world.settings.home / "runs"], dsn=world.dsn, settings=world.settings)
    with dg.DagsterInstance.get() as instance, connect(world.dsn, autocommit=True) as owner:
        context = dg.build_sensor_context(instance, repository_def=repository, resources={"warehouse": Warehouse()})
        assert str(sensor.evaluate_tick(context).skip_message).startswith("Nobody waits")
        owner.execute("select * from app.refresh_optimization_analytics()")
        (request,) = sensor.evaluate_tick(context).run_requests or []
        moment = datetime(2026, 3, 30, 5, 30, tzinfo=UTC)
        ticked = dg.build_schedule_context(instance, scheduled_execution_time=moment, repository_def=repository)
        (hourly,) = schedule.evaluate_tick(ticked).run_requests or []
        assert hourly.partition_key == "2026-03-30"

        with warehouse_environment(world.settings, world.dsn):
            build(owner, [], "--select", "+int_aggregation_window", command="run")
        touched = owner.execute("select count(*) from ops.touched_days").fetchone()
        job = defs.resolve_job_def("refresh_analytics")
        result = job.execute_in_process(instance=instance, partition_key=request.partition_key, tags=request.tags)
        assert result.success
        built = {event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key}
        assert "optimization_leaderboard" in built
        assert "daily_command_stats" not in built
        assert owner.execute("select sum(total_runs) from marts.optimization_run_analytics").fetchone() == (
            len(truth.runs),
        )
        assert owner.execute("select status, scope from ops.refresh_log").fetchall() == [("succeeded", "analytics")]
        assert owner.execute("select count(*) from ops.refresh_requests").fetchone() == (0,)
        assert owner.execute("select count(*) from ops.touched_days").fetchone() == touched != (0,)
        assert owner.execute("select count(*) from ops.aggregation_days").fetchone() == (0,)
