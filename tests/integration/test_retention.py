"""Old months go to the archive and come back: nothing is lost, nothing is there twice, nothing leaves too early."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pyarrow.parquet
import pytest

from pipelines.database import connect
from pipelines.maintenance import aggregation, restore, retention
from pipelines.maintenance.archive import ArchiveError
from pipelines.settings import Settings
from tests import history, optimization

KEYS = {"command_executions": "id", "model_requests": "request_key", "tool_calls": "tool_use_id"}


@pytest.fixture
def dsn(cloned_database: Callable[[str], AbstractContextManager[str]], past_database: str) -> Iterator[str]:
    with cloned_database(past_database) as database:
        yield database


@pytest.fixture
def past(settings: Settings) -> Settings:
    return settings


def execute(settings: Settings, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    with connect(settings.database_url or "", autocommit=True) as connection:
        cursor = connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def put_back(settings: Settings, **which: object) -> list[restore.Restored]:
    with connect(settings.database_url or "", role="tracemill_maintenance", autocommit=True) as connection:
        return restore.restore(connection, settings.archive, restore.listed(connection, **which), timedelta(days=7))


def end_holds(settings: Settings) -> None:
    execute(settings, "update ops.archived_months set held_until = now() - interval '1 second'")


def partitions(settings: Settings) -> set[str]:
    found = execute(
        settings, "select relname from pg_class where relnamespace = 'partitions'::regnamespace and relkind = 'r'"
    )
    return {str(name) for (name,) in found}


def test_a_plan_changes_nothing_and_names_every_month_that_is_due(past: Settings, dsn: str) -> None:
    before = history.rows(dsn, *history.EXECUTIONS, "ops.archived_months", "ops.maintenance_log")
    report = history.maintain("apply_retention", past, applies=False)
    assert report.counts == {"months_due": 4, "months_waiting": 0}
    assert len(report.steps) == 4
    assert history.rows(dsn, *before) == before
    assert not past.archive.exists()


def test_only_whole_months_past_the_limit_go(past: Settings, dsn: str) -> None:
    march_is_past = datetime(2026, 6, 30, tzinfo=UTC)
    due = history.maintain("apply_retention", past, applies=False, moment=march_is_past - timedelta(days=1))
    assert due.counts["months_due"] == 2
    assert history.maintain("apply_retention", past, applies=False, moment=march_is_past).counts["months_due"] == 4


def test_retention_takes_rows_to_files_and_drops_their_partitions(past: Settings, dsn: str) -> None:
    before = {table: history.live_keys(dsn, table, key) for table, key in KEYS.items()}
    assert all(before.values())
    report = history.maintain("apply_retention", past)
    assert report.problems == []
    assert report.counts["released_rows"] == sum(map(len, before.values()))
    assert report.counts["dropped_partitions"] == 6
    assert not {name for name in partitions(past) if name.startswith(tuple(KEYS)) and "2026_0" in name} - {
        f"{table}_2026_04" for table in KEYS
    }
    for table, key in KEYS.items():
        assert history.live_keys(dsn, table, key) == []
        assert history.archived_keys(past, table, key) == before[table]
    again = history.maintain("apply_retention", past)
    assert (again.counts["months_due"], again.counts["archived_rows"]) == (0, 0)


def test_what_comes_back_is_identical_row_by_row(past: Settings, dsn: str) -> None:
    before = history.rows(dsn, *history.EXECUTIONS)
    history.maintain("apply_retention", past)
    restored = put_back(past)
    assert history.rows(dsn, *history.EXECUTIONS) == before
    assert sum(month.row_count for month in restored) == sum(map(len, before.values()))
    assert sum(month.row_count for month in put_back(past)) == 0
    assert history.rows(dsn, *history.EXECUTIONS) == before


def test_what_a_migration_corrected_meanwhile_is_corrected_in_rows_that_come_back(past: Settings, dsn: str) -> None:
    execute(
        past,
        "update raw.command_executions set execution_time_ms = 0, "
        "ended_at = timestamp + (abs(hashtext(id::text)) % 2) * interval '1 second'",
    )
    before = execute(
        past,
        "select id, case when ended_at > timestamp and kind <> 'orphan' then 0 end "
        "from raw.command_executions order by id",
    )
    history.maintain("apply_retention", past)
    execute(past, "update ops.archive_files set schema_version = '0030_keep_readers_from_other_sessions'")
    files = history.files(past.archive)
    for _ in range(2):
        put_back(past)
        assert execute(past, "select id, execution_time_ms from raw.command_executions order by id") == before
        end_holds(past)
        assert history.maintain("apply_retention", past).problems == []
        assert history.live_keys(dsn, "command_executions", "id") == []
    assert history.files(past.archive) == files, "what is corrected each time is no change"


def test_restored_rows_stay_while_they_are_held_and_then_leave_without_a_new_file(past: Settings, dsn: str) -> None:
    history.maintain("apply_retention", past)
    files = history.files(past.archive)
    put_back(past)
    held = history.maintain("apply_retention", past)
    assert (held.counts["released_rows"], held.counts["months_waiting"]) == (0, 4)
    assert "is held until" in held.steps[0]
    end_holds(past)
    assert history.maintain("apply_retention", past).counts["archived_rows"] == 0
    assert history.live_keys(dsn, "tool_calls", "tool_use_id") == []
    assert history.files(past.archive) == files


def test_outcomes_leave_and_come_back_with_all_that_hangs_on_them(
    connection: psycopg.Connection, settings: Settings, dsn: str
) -> None:
    history.add_evaluations(connection)
    before = history.rows(dsn, *history.OUTCOMES)
    in_two_years = datetime(2028, 4, 1, tzinfo=UTC)
    report = history.maintain("apply_retention", settings, moment=in_two_years)
    assert (report.problems, report.counts["dropped_partitions"]) == ([], 6 + 3)
    after = history.rows(dsn, *history.OUTCOMES)
    assert [len(after[name]) for name in history.OUTCOMES] == [0, 0, 0, 1], "a recommendation of a simulation stays"
    put_back(settings)
    assert history.rows(dsn, *history.OUTCOMES) == before


def test_samples_leave_after_a_year_and_come_back(connection: psycopg.Connection, settings: Settings, dsn: str) -> None:
    optimization.register(connection, optimization.PROJECT)
    run = optimization.add_run(connection)
    optimization.insert(
        connection, "optimization_iterations", [optimization.iteration_row(run, optimization.Iteration(1, score=50))]
    )
    connection.execute(
        """
        insert into raw.optimization_samples (project_id, run_id, iteration, sample_index, score_raw, input, created_at)
        select %s, %s, 1, n, 0.10, jsonb_build_object('n', n), '2025-03-01 00:00+00'
        from generate_series(1, 50) as n
        """,
        [optimization.PROJECT, run],
    )
    connection.commit()
    before = history.rows(dsn, "raw.optimization_samples", "raw.optimization_iterations")
    assert history.maintain("apply_retention", settings).problems == []
    assert history.rows(dsn, "raw.optimization_samples")["raw.optimization_samples"] == []
    put_back(settings)
    assert history.rows(dsn, *before) == before


def test_projects_have_limits_of_their_own(past: Settings, dsn: str) -> None:
    execute(
        past,
        "update app.project_config set settings = %s where project_id = 'project-2'",
        '{"retention": {"executions": 1000}}',
    )
    kept = [row for row in history.live_keys(dsn, "model_requests", "request_key") if row[0] == "project-2"]
    report = history.maintain("apply_retention", past)
    assert report.counts["dropped_partitions"] == 0
    assert history.live_keys(dsn, "model_requests", "request_key") == kept
    assert {project for project, _ in history.archived_keys(past, "model_requests", "request_key")} == {"project-1"}


@pytest.mark.parametrize(
    "settings_of_project",
    [
        '{"retention": 30}',
        '{"retention": {"executions": "soon"}}',
        '{"retention": {"executions": 0}}',
        '{"retention": {"execution": 30}}',
        '{"legal_hold": "yes"}',
    ],
)
def test_limits_that_make_no_sense_are_refused(past: Settings, settings_of_project: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        execute(past, "update app.project_config set settings = %s", settings_of_project)


def test_nothing_of_a_project_on_legal_hold_leaves(past: Settings, dsn: str) -> None:
    execute(past, "update app.project_config set settings = '{\"legal_hold\": true}' where project_id = 'project-1'")
    before = [row for row in history.live_keys(dsn, "tool_calls", "tool_use_id") if row[0] == "project-1"]
    report = history.maintain("apply_retention", past)
    assert report.counts["months_waiting"] == 2
    assert any("legal hold" in step for step in report.steps)
    assert history.live_keys(dsn, "tool_calls", "tool_use_id") == before


def test_a_legal_hold_stops_a_retention_that_has_begun(past: Settings, dsn: str) -> None:
    before = history.live_keys(dsn, "tool_calls", "tool_use_id")
    with connect(dsn, role="tracemill_maintenance", autocommit=True) as maintenance:
        units = retention.plan(maintenance, retention.DOMAINS, history.MOMENT.date())
        execute(
            past, "update app.project_config set settings = '{\"legal_hold\": true}' where project_id = 'project-1'"
        )
        outcome = retention.apply(maintenance, past.archive, units, seconds=60)
    assert outcome.released_rows == 0
    assert ["a project is on legal hold" in problem for problem in outcome.problems] == [True, True]
    assert history.live_keys(dsn, "tool_calls", "tool_use_id") == before
    assert history.maintain("apply_retention", past).problems == [], "the next run lets the other project's months go"
    assert {project for project, _ in history.live_keys(dsn, "tool_calls", "tool_use_id")} == {"project-1"}


def test_a_month_waits_until_its_days_are_aggregated(past: Settings, dsn: str) -> None:
    execute(past, "insert into ops.touched_days (project_id, activity_date) values ('project-1', '2026-02-10')")
    report = history.maintain("apply_retention", past)
    assert report.counts["months_waiting"] == 1
    with connect(dsn) as connection:
        found = connection.execute(
            "select distinct project_id, date_trunc('month', timestamp)::date from raw.tool_calls"
        ).fetchall()
    assert found == [("project-1", date(2026, 2, 1))]


def test_nothing_leaves_while_an_aggregation_runs(past: Settings, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_PAUSE_SECONDS", 0.01)
    before = history.rows(dsn, *history.EXECUTIONS)
    with connect(dsn, role="tracemill_dbt", autocommit=True) as busy:
        running = aggregation.plan(busy, None, None)
        report = history.maintain("apply_retention", past)
        assert len(report.problems) == 2
        assert all("an aggregation is running" in problem for problem in report.problems)
        assert history.rows(dsn, *history.EXECUTIONS) == before
        aggregation.complete(busy, running)
    assert history.maintain("apply_retention", past).counts["released_rows"] == sum(map(len, before.values()))


def test_late_rows_of_an_archived_month_go_to_a_file_of_their_own(past: Settings, dsn: str) -> None:
    with connect(dsn) as connection:
        history.add_executions(connection, 1, projects=1, seed="late")
    late = {table: history.live_keys(dsn, table, key) for table, key in KEYS.items()}
    all_rows = history.rows(dsn, *history.EXECUTIONS)
    execute(past, "create table public.kept as select * from raw.model_requests where request_key like '%late%'")
    execute(past, "delete from raw.model_requests where request_key like '%late%'")
    history.maintain("apply_retention", past)
    files = history.files(past.archive)
    execute(past, "select ops.ensure_month_partitions('2026-02-01', '2026-03-31')")
    execute(past, "insert into raw.model_requests select * from public.kept")
    count = len(execute(past, "select 1 from public.kept"))
    assert count > 0
    assert history.maintain("apply_retention", past).counts["archived_rows"] == count
    now = history.files(past.archive)
    assert {name: now[name] for name in files} == files, "what is written is never edited"
    added = [name for name in now if name not in files and name.endswith(".parquet")]
    assert [name.rsplit("/", 1)[1] for name in added] == ["part-2.parquet"] * 2
    assert history.archived_keys(past, "model_requests", "request_key") == late["model_requests"]
    put_back(past)
    assert history.rows(dsn, *history.EXECUTIONS) == all_rows


def test_rows_changed_after_they_came_back_are_archived_as_they_are_now(past: Settings, dsn: str) -> None:
    history.maintain("apply_retention", past)
    put_back(past)
    execute(past, "update raw.command_executions set status = 'failed', cost_usd = 1.50 where project_id = 'project-1'")
    execute(past, "delete from raw.tool_calls where project_id = 'project-1' and timestamp < '2026-03-01'")
    now = history.rows(dsn, *history.EXECUTIONS)
    keys = {table: history.live_keys(dsn, table, key) for table, key in KEYS.items()}
    end_holds(past)
    assert history.maintain("apply_retention", past).problems == []
    for table, key in KEYS.items():
        assert history.live_keys(dsn, table, key) == []
        assert history.archived_keys(past, table, key) == keys[table], "a file that was taken over from is gone"
    put_back(past)
    assert history.rows(dsn, *history.EXECUTIONS) == now


def test_manifests_and_records_agree_with_what_is_in_the_files(past: Settings, dsn: str) -> None:
    with connect(dsn) as connection:
        totals = connection.execute(
            "select count(*), sum(cost_usd), sum(output_tokens) from raw.model_requests"
        ).fetchone()
    history.maintain("apply_retention", past)
    hashes = history.files(past.archive)
    rows, cost, output = 0, Decimal(0), 0
    for path in sorted((past.archive / "model_requests").rglob("*.parquet")):
        manifest = json.loads(path.with_name(f"_{path.stem}.json").read_text(encoding="utf-8"))
        name = str(path.relative_to(past.archive))
        assert manifest["sha256"] == hashes[name]
        assert (path.stat().st_mode & 0o077, past.archive.stat().st_mode & 0o077) == (0, 0)
        table = pyarrow.parquet.ParquetFile(path).read()
        spent = [Decimal(value) for value in table["cost_usd"].to_pylist() if value is not None]
        assert manifest["rows"] == table.num_rows
        assert Decimal(manifest["sums"]["cost_usd"] or 0) == sum(spent, Decimal(0))
        assert int(manifest["sums"]["output_tokens"]) == sum(table["output_tokens"].to_pylist())
        (record,) = execute(
            past,
            "select row_count, sha256, size_bytes, sums, schema_version from ops.archive_files where path = %s",
            name,
        )
        assert record == (
            table.num_rows, hashes[name], path.stat().st_size, manifest["sums"], manifest["schema_version"]
        )  # fmt: skip
        rows, cost, output = rows + table.num_rows, cost + sum(spent), output + int(manifest["sums"]["output_tokens"])
    assert (rows, cost, output) == totals


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_file_that_was_harmed_keeps_rows_in_the_database_and_does_not_come_back(
    past: Settings, dsn: str, harm: str
) -> None:
    history.maintain("apply_retention", past)
    put_back(past)
    victim = next((past.archive / "tool_calls" / "project_id=project-1").rglob("*.parquet"))
    if harm == "missing":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    end_holds(past)
    report = history.maintain("apply_retention", past)
    assert len(report.problems) == 1
    assert harm in report.problems[0]
    assert str(victim) in report.problems[0]
    left = {project for project, _ in history.live_keys(dsn, "tool_calls", "tool_use_id")}
    assert left == {"project-1"}
    execute(past, "update ops.archived_months set released_at = now(), held_until = null")
    with pytest.raises(ArchiveError, match=harm):
        put_back(past)


@pytest.mark.parametrize("harm", ["missing", "unreadable", "refused"])
def test_a_month_that_cannot_come_back_keeps_no_other_away(past: Settings, dsn: str, harm: str) -> None:
    history.maintain("apply_retention", past)
    victim = next((past.archive / "tool_calls" / "project_id=project-1" / "month=2026-02").glob("*.parquet"))
    if harm == "refused":
        execute(
            past,
            "alter table raw.tool_calls add constraint is_new "
            "check (project_id <> 'project-1' or timestamp >= '2026-03-01')",
        )
    else:
        victim.unlink()
    if harm == "unreadable":
        victim.mkdir()
    with connect(dsn, role="tracemill_maintenance", autocommit=True) as connection:
        done, problems = restore.bring_back(connection, past.archive, [date(2026, 2, 20), date(2026, 3, 20)])
        away = [month for month in restore.listed(connection) if month.state == "archived"]
    assert [(month.project_id, month.month) for month in done] == [
        ("project-2", date(2026, 2, 1)), ("project-1", date(2026, 3, 1)), ("project-2", date(2026, 3, 1))
    ]  # fmt: skip
    assert {(month.project_id, month.month) for month in away} == {("project-1", date(2026, 2, 1))}
    assert len(problems) == 1
    assert ("raw.tool_calls (project-1)" if harm == "refused" else str(victim)) in problems[0]


def test_a_restore_keeps_rows_that_have_not_left_yet(past: Settings, dsn: str) -> None:
    with connect(dsn, role="tracemill_maintenance", autocommit=True) as maintenance:
        for unit in retention.plan(maintenance, retention.DOMAINS, history.MOMENT.date()):
            assert retention._archive(maintenance, past.archive, unit, retention.Outcome())
    assert {month.row_count for month in put_back(past)} == {0}
    report = history.maintain("apply_retention", past)
    assert (report.counts["released_rows"], report.counts["months_waiting"]) == (0, 4)


def test_an_archive_that_cannot_be_written_is_a_problem_told_once(past: Settings, dsn: str) -> None:
    before = history.rows(dsn, *history.EXECUTIONS)
    past.home.mkdir(parents=True)
    past.archive.touch()
    report = history.maintain("apply_retention", past)
    assert [str(past.archive) in problem for problem in report.problems] == [True]
    assert "cannot be written (File exists)" in report.problems[0]
    assert history.rows(dsn, *before) == before


def test_a_value_without_a_place_in_files_keeps_its_own_month_only(past: Settings, dsn: str) -> None:
    execute(
        past,
        "update raw.command_executions set ended_at = 'infinity' where id = (select id from raw.command_executions "
        "where project_id = 'project-1' and timestamp < '2026-03-01' order by id limit 1)",
    )
    report = history.maintain("apply_retention", past)
    assert len(report.problems) == 1
    assert "raw.command_executions of project-1 in 2026-02 cannot be archived, because ended_at" in report.problems[0]
    left = execute(past, "select distinct project_id, date_trunc('month', timestamp)::date from raw.command_executions")
    assert left == [("project-1", date(2026, 2, 1))]


def test_rows_that_arrive_between_proof_and_release_stay(past: Settings, dsn: str) -> None:
    with connect(dsn, role="tracemill_maintenance", autocommit=True) as maintenance:
        units = retention.plan(maintenance, retention.DOMAINS, history.MOMENT.date())
        outcome = retention.Outcome()
        for unit in units:
            assert retention._archive(maintenance, past.archive, unit, outcome)
        execute(
            past,
            "update raw.tool_calls set status = 'error' where project_id = 'project-1' and timestamp < '2026-03-01'",
        )
        with pytest.raises(psycopg.errors.SerializationFailure, match="project-1"):
            maintenance.execute(
                "select * from ops.release_archived_rows('executions', '2026-02-01', %s)",
                [["project-1", "project-2"]],
            )
        with pytest.raises(psycopg.errors.SerializationFailure, match="project-9"):
            execute(past, "select ops.ensure_month_partitions('2026-05-01', '2026-05-01')")
            execute(
                past,
                "insert into raw.tool_calls (project_id, tool_use_id, timestamp, execution_id, tool_name, status, "
                "source, source_file_key, source_offset) "
                "values ('project-9', 'u', '2026-05-02', gen_random_uuid(), 't', 'ok', 's', 'f', 0)",
            )
            maintenance.execute("select * from ops.release_archived_rows('executions', '2026-05-01', '{project-9}')")


def test_the_role_that_maintains_cannot_delete_or_change_facts(past: Settings, dsn: str) -> None:
    with connect(dsn, role="tracemill_maintenance", autocommit=True) as maintenance:
        for statement in (
            "delete from raw.tool_calls",
            "update raw.tool_calls set status = 'ok'",
            "truncate raw.tool_calls",
            "drop table raw.tool_calls",
            "delete from ops.archive_files",
            "insert into audit.audit_log select * from audit.audit_log",
            "delete from ops.touched_days",
            "update app.project_config set settings = '{}'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                maintenance.execute(statement)


def test_tenants_see_nothing_of_the_archive_records(past: Settings, dsn: str) -> None:
    history.maintain("apply_retention", past)
    with connect(dsn, role="app_readonly", autocommit=True) as tenant:
        for table in ("archived_months", "archive_files", "maintenance_log", "retention_rules"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                tenant.execute(f"select * from ops.{table}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tenant.execute("select ops.release_archived_rows('executions', '2026-02-01', '{project-1}')")
    # Even granted by mistake, the policies let a tenant see its own rows only.
    execute(past, "grant usage on schema ops to app_readonly")
    execute(past, "grant select on ops.archived_months, ops.archive_files to app_readonly")
    token = execute(past, "select app.open_session('project-1')")[0][0]
    with connect(dsn, role="app_readonly", autocommit=True) as tenant:
        for table in ("archived_months", "archive_files"):
            assert tenant.execute(f"select 1 from ops.{table}").fetchall() == []
        tenant.execute("select set_config('app.token', %s, false)", [token])
        for table in ("archived_months", "archive_files"):
            assert tenant.execute(f"select distinct project_id from ops.{table}").fetchall() == [("project-1",)]


def test_every_run_is_in_the_maintenance_log(past: Settings) -> None:
    history.maintain("apply_retention", past)
    rows = execute(
        past,
        "select job, status, counts, jsonb_array_length(steps), finished_at >= started_at from ops.maintenance_log",
    )
    ((job, status, counts, steps, is_forward),) = rows
    assert (job, status, steps, is_forward) == ("apply_retention", "succeeded", 2, True)
    assert counts["dropped_partitions"] == 6
