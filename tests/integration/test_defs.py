"""The Dagster code location: what it defines, and that the machinery does what it promises on a real instance."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from pipelines.cli.aggregate import describe
from pipelines.database import connect, embedded
from pipelines.defs.resources import Warehouse
from pipelines.maintenance.launch import AggregateWarning, BadPeriodError, aggregate
from pipelines.maintenance.raw_checks import CHECKS
from tests.dagster_world import LAST_DAY, PASSWORD, World, dagster_world, fingerprints
from tests.optimization import add_run

RAW = {dg.AssetKey(["raw", table]) for table in ("command_executions", "model_requests", "tool_calls")}
EMBEDDINGS = dg.AssetKey(["raw", "embeddings"])
OTHER_RAW = {
    "optimization": {"optimization_runs", "optimization_iterations", "optimization_samples"},
    "evaluation": {
        "configurations",
        "config_versions",
        "config_diffs",
        "scenarios",
        "simulations",
        "outcomes",
        "tool_usage",
        "failure_patterns",
    },
}
RUNNING = dg.DefaultScheduleStatus.RUNNING
DAILY_MARTS = (
    "cache_effectiveness",
    "command_costs",
    "daily_command_stats",
    "hourly_token_usage",
    "model_usage_daily",
    "project_spend_daily",
    "tool_usage_daily",
)


@pytest.fixture(scope="module")
def world(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with dagster_world(migrated_database, tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(scope="module")
def instance(world: World) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture(scope="module")
def definitions(world: World) -> dg.Definitions:
    from pipelines.definitions import defs

    return defs


@pytest.fixture(scope="module")
def ingested(world: World, definitions: dg.Definitions, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """The sample logs, ingested by the job."""
    return definitions.resolve_job_def("ingest_logs").execute_in_process(instance=instance)


@pytest.fixture(scope="module")
def aggregated(world: World, ingested: dg.ExecuteInProcessResult) -> list[str]:
    """Lines that the aggregation of the samples' last day told the person who asked for it."""
    with connect(world.dsn, role="tracemill_ingest", autocommit=True) as connection:
        add_run(connection, project_id="storefront", score_scale="[0,1]", final_score_raw=80)
    lines: list[str] = []
    result = aggregate(world.settings, world.dsn, LAST_DAY, LAST_DAY, on_line=lines.append)
    assert result.success, result.detail
    assert (result.last, result.detail) == (LAST_DAY, None)
    assert result.run_id is not None
    assert result.warnings == (AggregateWarning("assert_scores_of_runs_lie_on_their_scales", 1),)
    assert describe(result).splitlines()[1] == (
        "Warning: 1 row does not pass assert_scores_of_runs_lie_on_their_scales; "
        "the check of this name in `tracemill ui` says what it asks."
    )
    return lines


def test_the_workspace_loads_in_a_fresh_interpreter(world: World) -> None:
    outcome = world.dagster("definitions", "validate", "-w", "workspace.yaml")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_raw_tables_and_marts_are_assets_in_the_groups_of_the_design(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    groups = {key: graph.get(key).group_name for key in graph.materializable_asset_keys}
    assert {key for key, group in groups.items() if group == "executions"} == RAW
    for name in (*DAILY_MARTS, "command_patterns", "session_summary"):
        assert groups[dg.AssetKey(["marts", name])] == "marts"
    assert {key for key, group in groups.items() if group == "enrichment"} == {EMBEDDINGS}
    for group, tables in OTHER_RAW.items():
        assert {key.path[-1] for key in groups if groups[key] == group} == tables
    for key, group in groups.items():
        assert key.path[0] in ("raw", group)


def test_lineage_runs_from_raw_through_staging_to_marts(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    ancestors = graph.get_ancestor_asset_keys(dg.AssetKey(["marts", "command_patterns"]))
    assert dg.AssetKey(["raw", "command_executions"]) in ancestors
    assert dg.AssetKey(["staging", "stg_tracemill__command_executions"]) in ancestors
    for table in RAW:
        children = graph.get(table).child_keys
        assert dg.AssetKey(["staging", f"stg_tracemill__{table.path[-1]}"]) in children


def test_all_lineage_begins_with_raw_tables_that_ingest_fills(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    keys = graph.get_all_asset_keys()
    beginnings = {key for key in keys if key.path[0] == "raw" and not graph.get(key).parent_keys}
    assert beginnings >= RAW
    assert beginnings <= graph.materializable_asset_keys


def test_marts_by_day_are_partitioned_and_views_are_virtual(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name in DAILY_MARTS:
        node = graph.get(dg.AssetKey(["marts", name]))
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition), name
        assert node.backfill_policy == dg.BackfillPolicy.single_run()
        keys = node.partitions_def.get_partition_keys()
        assert (keys[0], keys[-1]) == ("2025-01-01", datetime.now(UTC).date().isoformat())
    assert graph.get(dg.AssetKey(["marts", "command_patterns"])).partitions_def is None
    assert graph.get(dg.AssetKey(["staging", "stg_tracemill__tool_calls"])).is_virtual


def test_dbt_tests_are_asset_checks(definitions: dg.Definitions) -> None:
    checked = {key.asset_key for key in definitions.resolve_asset_graph().asset_check_keys}
    assert checked > RAW
    assert {dg.AssetKey(["marts", name]) for name in (*DAILY_MARTS, "command_patterns")} < checked


def test_nothing_reads_a_persons_folders_before_it_is_switched_on(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} >= {"ingest_logs", "nightly_aggregation"}
    sensors = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    assert sensors == dict.fromkeys(
        ("new_log_files", "late_data", "requested_refreshes", "run_failures"), dg.DefaultSensorStatus.STOPPED
    )
    assert repository.get_schedule_def("nightly_aggregation_schedule").default_status is RUNNING
    assert repository.get_schedule_def("send_alerts_schedule").default_status is dg.DefaultScheduleStatus.STOPPED


def test_the_schedule_asks_for_yesterday_at_two(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    repository = definitions.get_repository_def()
    schedule = repository.get_schedule_def("nightly_aggregation_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "UTC")
    context = dg.build_schedule_context(
        instance, scheduled_execution_time=datetime(2026, 3, 30, 2, tzinfo=UTC), repository_def=repository
    )
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.partition_key == "2026-03-29"
    assert request.job_name in (None, "nightly_aggregation")


def test_ingest_lands_what_the_logs_hold_and_says_so(
    world: World, ingested: dg.ExecuteInProcessResult, instance: dg.DagsterInstance
) -> None:
    assert ingested.success
    with connect(world.dsn) as connection:
        for key in RAW:
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            assert event.asset_materialization is not None
            metadata = {name: value.value for name, value in event.asset_materialization.metadata.items()}
            count = connection.execute(f"select count(*) from raw.{key.path[-1]}").fetchone()
            assert count is not None
            assert count[0] > 0
            assert metadata["dagster/row_count"] == metadata["inserted"] == count[0]
            assert metadata["bytes"] == world.truth.bytes
            assert metadata["quarantined"] == world.truth.broken_lines
            assert str(metadata["preview"]).startswith("| timestamp | project_id |")
        executions = connection.execute("select count(*) from raw.command_executions").fetchone()
    assert executions == (sum(world.truth.executions.values()),)
    evaluations = [check for check in ingested.get_asset_check_evaluations() if check.asset_key != EMBEDDINGS]
    assert len(evaluations) == len(CHECKS)
    assert all(evaluation.passed and evaluation.blocking for evaluation in evaluations)


def test_the_sensor_asks_once_for_the_same_files(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance, ingested: dg.ExecuteInProcessResult
) -> None:
    sensor = definitions.get_repository_def().get_sensor_def("new_log_files")

    def evaluate(cursor: str | None) -> tuple[int, str | None, str | None]:
        context = dg.build_sensor_context(instance, cursor=cursor, resources={"warehouse": Warehouse()})
        data = sensor.evaluate_tick(context)
        return len(data.run_requests or []), data.cursor, data.skip_message

    requests, _, reason = evaluate(None)
    assert (requests, reason) == (0, "Every file in the watched folders has been ingested.")

    transcript = next(world.logs.rglob("*.jsonl"))
    (transcript.parent / "new.jsonl").write_bytes(transcript.read_bytes())
    requests, cursor, _ = evaluate(None)
    assert requests == 1
    requests, cursor, reason = evaluate(cursor)
    assert requests == 0
    assert reason is not None
    assert reason.startswith("An ingest of these 1 files was asked for")

    with (transcript.parent / "new.jsonl").open("ab") as log:
        log.write(b"\n")
    assert evaluate(cursor)[0] == 1

    again = definitions.resolve_job_def("ingest_logs").execute_in_process(instance=instance)
    assert again.success
    assert evaluate(cursor)[2] == "Every file in the watched folders has been ingested."


def test_the_sensor_says_that_a_watched_folder_is_missing(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEMILL_WATCHED_FOLDERS", "/nowhere/to/be/found")
    sensor = definitions.get_repository_def().get_sensor_def("new_log_files")
    data = sensor.evaluate_tick(dg.build_sensor_context(instance, resources={"warehouse": Warehouse()}))
    assert data.skip_message is not None
    assert data.skip_message.startswith("/nowhere/to/be/found does not exist")


@pytest.mark.parametrize(
    ("age", "partition"), [(timedelta(minutes=9), None), (timedelta(minutes=11), LAST_DAY.isoformat())]
)
def test_old_days_are_aggregated_by_day_once_late_data_have_settled(
    world: World,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    aggregated: list[str],
    age: timedelta,
    partition: str | None,
) -> None:
    repository = definitions.get_repository_def()
    sensor = repository.get_sensor_def("late_data")
    context = dg.build_sensor_context(instance, repository_def=repository, resources={"warehouse": Warehouse()})
    assert sensor.evaluate_tick(context).skip_message == "No old day has been touched and left alone since."
    with connect(world.dsn, autocommit=True) as connection:
        connection.execute("insert into ops.touched_days values ('storefront', %s, now() - %s)", [LAST_DAY, age])
        requests = sensor.evaluate_tick(context).run_requests or []
        connection.execute("delete from ops.touched_days")
    assert [request.partition_key for request in requests] == ([partition] if partition else [])


def test_the_aggregation_builds_the_marts_and_reports_each_step(
    world: World, aggregated: list[str], instance: dg.DagsterInstance
) -> None:
    assert any("marts.daily_command_stats" in line for line in aggregated)
    with connect(world.dsn) as connection:
        spent = connection.execute("select sum(total_tokens) from marts.project_spend_daily").fetchone()
        stored = connection.execute("select sum(total_tokens) from raw.command_executions").fetchone()
        assert spent == stored != (0,)
        assert connection.execute("select count(*) from ops.touched_days").fetchone() == (0,)
        assert connection.execute("select count(*) from ops.aggregation_days").fetchone() == (0,)
        assert connection.execute("select status, detail from ops.refresh_log").fetchall() == [("succeeded", None)]
    # Days that were rebuilt though nobody asked for their partitions are recorded, too.
    built = instance.get_materialized_partitions(dg.AssetKey(["marts", "project_spend_daily"]))
    assert built >= {key.activity_date.isoformat() for key in world.truth.usage}


def test_every_mart_shows_how_many_rows_it_has(
    world: World, definitions: dg.Definitions, aggregated: list[str], instance: dg.DagsterInstance
) -> None:
    marts = [key for key in definitions.resolve_asset_graph().materializable_asset_keys if key.path[0] == "marts"]
    with connect(world.dsn) as connection:
        for key in marts:
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            assert event.asset_materialization is not None
            count = connection.execute(f"select count(*) from marts.{key.path[-1]}").fetchone()
            assert count == (event.asset_materialization.metadata["dagster/row_count"].value,), key
    assert len(marts) > len(DAILY_MARTS)


def test_prompts_nobody_answered_are_closed_by_the_aggregation(world: World, aggregated: list[str]) -> None:
    assert world.truth.executions_by_status()["pending"] > 0
    with connect(world.dsn) as connection:
        statuses = connection.execute(
            "select count(*) filter (where status = 'pending'), count(*) filter (where status = 'timeout') "
            "from raw.command_executions"
        ).fetchone()
    assert statuses == (0, world.truth.executions_by_status()["pending"])


def test_the_aggregation_of_one_day_twice_gives_identical_tables(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance, aggregated: list[str]
) -> None:
    before = fingerprints(world.dsn)
    assert len(before) > len(DAILY_MARTS)
    job = definitions.resolve_job_def("nightly_aggregation")
    assert job.execute_in_process(instance=instance, partition_key=LAST_DAY.isoformat()).success
    assert fingerprints(world.dsn) == before


def test_a_mart_materialized_alone_leaves_touched_days_for_the_others(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance, aggregated: list[str]
) -> None:
    before = fingerprints(world.dsn)
    with connect(world.dsn, autocommit=True) as connection:
        connection.execute("insert into ops.touched_days select project_id, %s from app.project_config", [LAST_DAY])
        job = definitions.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(
            instance=instance,
            partition_key=LAST_DAY.isoformat(),
            asset_selection=[dg.AssetKey(["marts", "tool_usage_daily"])],
        ).success
        touched = connection.execute("select count(*) from ops.touched_days").fetchone()
        assert touched == (len(world.truth.projects),)
        connection.execute("delete from ops.touched_days")
    assert fingerprints(world.dsn) == before


def test_checks_stop_what_depends_on_raw_tables_that_are_wrong(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance, aggregated: list[str]
) -> None:
    with connect(world.dsn, autocommit=True) as connection:
        connection.execute(
            """
            with victim as (
                select project_id, id, timestamp from raw.command_executions where output_tokens > 0 limit 1
            ), wrong as (
                update raw.command_executions as e
                set output_tokens = e.output_tokens + 1, total_tokens = e.total_tokens + 1,
                    fresh_tokens = e.fresh_tokens + 1
                from victim as v where (e.project_id, e.id, e.timestamp) = (v.project_id, v.id, v.timestamp)
            )
            insert into ops.touched_days (project_id, activity_date)
            select project_id, (timestamp at time zone 'UTC')::date from victim
            """
        )
        row = connection.execute("select * from raw.tool_calls limit 1")
        columns = [column.name for column in row.description or []]
        others = ", ".join(name for name in columns if name != "timestamp")
        connection.execute(
            f"insert into raw.tool_calls ({others}, timestamp) "
            f"select {others}, '1999-12-31T12:00:00Z' from raw.tool_calls limit 1"
        )
        connection.execute(
            "insert into ops.touched_days "
            "select project_id, '1999-12-31' from raw.tool_calls where timestamp < '2000-01-01'"
        )
    result = definitions.resolve_job_def("ingest_logs").execute_in_process(instance=instance, raise_on_error=False)
    failed = {
        (evaluation.asset_key.path[-1], evaluation.check_name)
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    }
    assert not result.success
    assert failed == {
        ("command_executions", "has_the_tokens_of_its_requests"),
        ("tool_calls", "has_each_identity_once"),
        ("tool_calls", "has_no_row_outside_its_months"),
    }


def test_no_secret_reaches_dagsters_database_or_its_logs(world: World, aggregated: list[str]) -> None:
    secrets = [PASSWORD, *world.truth.secrets]
    dump = subprocess.run(
        [str(embedded.binaries() / "pg_dump"), "--data-only", world.dagster_dsn],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert "nightly_aggregation" in dump
    written = [path for path in world.settings.home.rglob("*") if path.is_file() and path.suffix != ".key"]
    texts = {str(path): path.read_text(errors="replace") for path in written} | {"the database": dump}
    assert any("storage" in name for name in texts)
    assert not [(name, secret) for name, text in texts.items() for secret in secrets if secret in text]


@pytest.mark.parametrize(
    ("first", "last", "sentence"),
    [
        (date(2026, 2, 2), date(2026, 2, 1), "The period ends before it begins"),
        (date(2024, 12, 31), date(2026, 2, 1), "There are no days before 2025-01-01"),
        (date(2026, 2, 1), date(9999, 1, 1), "9999-01-01 is in the future"),
    ],
)
def test_a_period_that_cannot_be_aggregated_is_refused_in_a_sentence(
    world: World, first: date, last: date, sentence: str
) -> None:
    with pytest.raises(BadPeriodError, match=sentence):
        aggregate(world.settings, world.dsn, first, last)


def test_dagsters_home_is_made_once_and_then_the_persons_own(world: World) -> None:
    from pipelines.maintenance.dagster_home import TEMPLATE, prepare_dagster_home

    mine = Path(world.environment["DAGSTER_HOME"]) / "dagster.yaml"
    assert mine.read_text() == TEMPLATE.read_text()
    mine.write_text(mine.read_text() + "# mine\n")
    again = prepare_dagster_home(world.settings, world.dsn)
    assert again == {name: world.environment[name] for name in again}
    assert mine.read_text().endswith("# mine\n")
