"""Maintenance under Dagster: what schedules ask for, what a person gets, and that no mart forgets its history."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dbt.cli.main import dbtRunner

from pipelines.database import connect
from pipelines.maintenance import aggregation, dagster_events, dbt, jobs
from tests import history
from tests.dagster_world import LAST_DAY, World, dagster_world, fingerprints

SCHEDULES = {
    "maintain_partitions": ("30 0 * * *", dg.DefaultScheduleStatus.RUNNING),
    "purge_dagster_events": ("30 4 * * *", dg.DefaultScheduleStatus.RUNNING),
    "apply_retention": ("30 3 * * *", dg.DefaultScheduleStatus.STOPPED),
    "cleanup_audit_log": ("0 5 2 * *", dg.DefaultScheduleStatus.STOPPED),
}


@pytest.fixture(scope="module")
def world(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with dagster_world(migrated_database, tmp_path_factory.mktemp("world"), days=2, size_bytes=60_000) as made:
        yield made


@pytest.fixture
def instance(world: World) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture(scope="module")
def definitions(world: World) -> dg.Definitions:
    from pipelines.definitions import defs

    return defs


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_carry_the_job_out(name: str, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    repository = definitions.get_repository_def()
    schedule = repository.get_schedule_def(f"{name}_schedule")
    assert (schedule.cron_schedule, schedule.default_status) == SCHEDULES[name]
    assert schedule.execution_timezone == "UTC"
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=datetime(2026, 3, 2, 5, tzinfo=UTC), repository_def=repository
    )
    (request,) = schedule.evaluate_tick(context).run_requests
    result = definitions.resolve_job_def(name).execute_in_process(run_config=request.run_config, instance=instance)
    metadata = _metadata(result)
    assert metadata["applied"].value is True


@pytest.mark.parametrize(
    ("built", "asked_for"),
    [
        ([], ("2026-03-20", "2026-03-20")),
        (["2026-03-18", "2026-03-19"], ("2026-03-20", "2026-03-20")),
        (["2026-03-08"], ("2026-03-09", "2026-03-20")),
        (["2026-03-08", "2026-03-17"], ("2026-03-09", "2026-03-20")),
        (["2025-06-01"], ("2026-02-17", "2026-03-20")),
    ],
)
def test_a_night_asks_for_the_days_of_nights_that_were_missed(
    built: list[str], asked_for: tuple[str, str], definitions: dg.Definitions
) -> None:
    repository = definitions.get_repository_def()
    with dg.DagsterInstance.local_temp() as instance:
        for day in built:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(["marts", "daily_command_stats"], partition=day)
            )
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=datetime(2026, 3, 21, 2, tzinfo=UTC), repository_def=repository
        )
        schedule = repository.get_schedule_def("nightly_aggregation_schedule")
        (request,) = schedule.evaluate_tick(context).run_requests
    assert asked_for == (
        request.tags.get("dagster/asset_partition_range_start", request.partition_key),
        request.tags.get("dagster/asset_partition_range_end", request.partition_key),
    )


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dg.MetadataValue]:
    (event,) = [event for event in result.all_node_events if event.event_type_value == "STEP_OUTPUT"]
    return dict(event.event_specific_data.metadata)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_person_who_launches_a_job_gets_its_plan(
    name: str, world: World, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    with connect(world.dsn) as connection:
        before = connection.execute("select count(*) from ops.maintenance_log").fetchone()
    metadata = _metadata(definitions.resolve_job_def(name).execute_in_process(instance=instance))
    assert metadata["applied"].value is False
    assert "steps" in metadata
    with connect(world.dsn) as connection:
        assert connection.execute("select count(*) from ops.maintenance_log").fetchone() == before


@pytest.mark.slow
def test_marts_keep_their_history_when_late_data_touch_archived_days(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    def aggregate(day: date) -> dg.ExecuteInProcessResult:
        job = definitions.resolve_job_def("nightly_aggregation")
        return job.execute_in_process(partition_key=day.isoformat(), instance=instance, raise_on_error=False)

    definitions.resolve_job_def("ingest_logs").execute_in_process(instance=instance)
    assert aggregate(LAST_DAY).success
    marts, raw = fingerprints(world.dsn), history.rows(world.dsn, *history.EXECUTIONS)
    assert all(raw.values())

    assert jobs.run("apply_retention", world.settings, world.dsn, applies=True).problems == []
    assert not any(history.rows(world.dsn, *history.EXECUTIONS).values())
    with connect(world.dsn, autocommit=True) as connection:
        connection.execute(
            "insert into ops.touched_days (project_id, activity_date) values ('late', %s)",
            [LAST_DAY - timedelta(days=1)],
        )
    assert aggregate(LAST_DAY).success
    assert history.rows(world.dsn, *history.EXECUTIONS) == raw
    assert fingerprints(world.dsn) == marts

    with connect(world.dsn, autocommit=True) as connection:
        assert connection.execute("select count(*) from ops.touched_days").fetchone() == (0,)
        connection.execute("update ops.archived_months set held_until = now() - interval '1 second'")
    assert jobs.run("apply_retention", world.settings, world.dsn, applies=True).counts["archived_rows"] == 0

    with dbt.exported(dbt.environment(world.settings, world.dsn)):
        refresh = dbtRunner().invoke(["--quiet", "run", "--full-refresh", "--select", "session_summary"])
    assert not refresh.success
    assert "tracemill archive restore --all" in str(refresh.exception or [run.message for run in refresh.result])

    for path in world.settings.archive.rglob("*.parquet"):
        path.unlink()
    result = aggregate(LAST_DAY)
    assert not result.success
    (failure,) = [event for event in result.all_node_events if event.event_type_value == "STEP_FAILURE"]
    assert "rows of theirs are in the archive" in failure.event_specific_data.error.message
    assert fingerprints(world.dsn) == marts


def test_a_purge_keeps_the_last_word_on_every_partition(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    days = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-04")

    @dg.asset(
        key=["test", "daily"], partitions_def=days, check_specs=[dg.AssetCheckSpec("fine", asset=["test", "daily"])]
    )
    def daily(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        context.log.info("working")
        return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name="fine")])

    for key in [*days.get_partition_keys(), "2026-01-01"]:
        assert dg.materialize([daily], instance=instance, partition_key=key).success
    asset = dg.AssetKey(["test", "daily"])
    before = _words(instance, asset)
    assert before[0] == {"2026-01-01", "2026-01-02", "2026-01-03"}
    with psycopg.connect(world.dagster_dsn, autocommit=True) as storage:
        counts = _rows(storage)
        later = datetime.now(UTC) + dagster_events.KEEP + timedelta(hours=1)
        planned = dagster_events.plan(storage, later)
        assert dagster_events.plan(storage, datetime.now(UTC)).events == 0
        done = dagster_events.apply(storage, later)
        assert done.events == planned.events > counts["event_logs"] / 2
        left = _rows(storage)
        assert left["event_logs"] == counts["event_logs"] - done.events
        kept = storage.execute(
            "select count(*) from event_logs where asset_key = %s and dagster_event_type = 'ASSET_MATERIALIZATION'",
            [json.dumps(["test", "daily"])],
        ).fetchone()
        assert kept == (3,)
        assert dagster_events.apply(storage, later) == dagster_events.Counts(0, 0, 0, 0)
    assert _words(instance, asset) == before
    assert dg.materialize([daily], instance=instance, partition_key="2026-01-02").success


def _words(instance: dg.DagsterInstance, asset: dg.AssetKey) -> tuple[set[str], dict[str, int], object]:
    """Partitions that Dagster takes for materialized, by which events, and what it says of the check."""
    storage = instance.event_log_storage
    check = storage.get_latest_asset_check_execution_by_key([dg.AssetCheckKey(asset, "fine")])
    return (
        instance.get_materialized_partitions(asset),
        dict(storage.get_latest_storage_id_by_partition(asset, dg.DagsterEventType.ASSET_MATERIALIZATION)),
        [(str(key), record.status.value) for key, record in check.items()],
    )


def _rows(storage: psycopg.Connection) -> dict[str, int]:
    return {
        table: storage.execute(f"select count(*) from {table}").fetchone()[0]
        for table in ("event_logs", "runs", "asset_check_executions")
    }


def test_a_plan_skips_days_that_are_away_and_leaves_their_touches(world: World) -> None:
    with connect(world.dsn, autocommit=True) as connection:
        connection.execute("delete from ops.touched_days")
        connection.execute(
            "insert into ops.archived_months "
            "(project_id, relation, month, row_count, checksum, verified_at, released_at) "
            "values ('p', 'raw.tool_calls', '2025-09-01', 1, 1, now(), now())"
        )
        connection.execute(
            "insert into ops.touched_days (project_id, activity_date) "
            "values ('p', '2025-10-07'), ('p', '2025-10-08'), ('q', '2025-09-15'), ('q', '2025-08-24')"
        )
    with connect(world.dsn, role="tracemill_dbt", autocommit=True) as connection:
        plan = aggregation.plan(connection, date(2025, 8, 25), date(2025, 8, 25))
        assert set(plan.days) >= {date(2025, 8, 24), date(2025, 10, 8)}
        assert plan.skipped == (date(2025, 8, 25), date(2025, 9, 15), date(2025, 10, 7))
        aggregation.complete(connection, plan)
        left = connection.execute("select activity_date from ops.touched_days order by 1").fetchall()
    assert left == [(date(2025, 9, 15),), (date(2025, 10, 7),)]


def test_the_code_location_knows_the_pool_of_maintenance(world: World, instance: dg.DagsterInstance) -> None:
    config = instance.get_concurrency_config()
    assert config.pool_config.default_pool_limit == 1
    assert (Path(os.environ["DAGSTER_HOME"]) / "dagster.yaml").exists()
