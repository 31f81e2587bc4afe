"""Partitions ahead, the audit log's old months, statistics, and two jobs at once."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime

import psycopg
import pyarrow.parquet
import pytest

from pipelines.database import connect
from pipelines.maintenance import jobs, vacuum
from pipelines.maintenance import partitions as partitions_of_months
from pipelines.maintenance.archive_tables import next_month
from pipelines.maintenance.lock import MaintenanceBusyError, maintenance_lock
from pipelines.settings import Settings
from tests import evaluation_rows, history, warehouse

TABLES = ("command_executions", "failure_patterns", "model_requests", "outcomes", "tool_calls", "tool_usage")


@pytest.fixture
def admin(dsn: str) -> Iterator[psycopg.Connection]:
    with connect(dsn, autocommit=True) as opened:
        yield opened


def partitions(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(
        "select relname from pg_class where relnamespace = 'partitions'::regnamespace and relkind = 'r'"
    )
    return {name for (name,) in rows}


def add_call(connection: psycopg.Connection, key: str, timestamp: str) -> None:
    connection.execute(
        "insert into raw.tool_calls (project_id, tool_use_id, timestamp, execution_id, tool_name, status, source, "
        "source_file_key, source_offset) values ('shop', %s, %s, gen_random_uuid(), 't', 'ok', 's', 'f', 0)",
        [key, timestamp],
    )


def test_every_partitioned_table_is_three_months_ahead_and_a_second_run_finds_nothing(
    admin: psycopg.Connection, settings: Settings
) -> None:
    planned = history.maintain("maintain_partitions", settings, moment=datetime.now(UTC), applies=False)
    before = partitions(admin)
    report = history.maintain("maintain_partitions", settings, moment=datetime.now(UTC))
    month, expected = datetime.now(UTC).date().replace(day=1), set()
    for _ in range(4):
        expected |= {f"{table}_{month:%Y_%m}" for table in (*TABLES, "audit_log")}
        month = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    assert partitions(admin) >= expected
    assert report.counts["made_partitions"] == len(partitions(admin)) - len(before) == len(planned.steps)
    again = history.maintain("maintain_partitions", settings, moment=datetime.now(UTC))
    assert (again.counts["missing_partitions"], again.counts["made_partitions"]) == (0, 0)


def test_rows_in_default_move_to_partitions_of_their_months(
    admin: psycopg.Connection, settings: Settings, dsn: str
) -> None:
    for key, moment in (("a", "2024-02-29 23:59:59.999999+00"), ("b", "2024-03-01 00:00+00"), ("c", "infinity")):
        add_call(admin, key, moment)
    before = history.rows(dsn, "raw.tool_calls")
    plan = history.maintain("maintain_partitions", settings, moment=datetime.now(UTC), applies=False)
    assert "1 rows of raw.tool_calls of 2024-02 lie in its DEFAULT partition: move them" in plan.steps
    report = history.maintain("maintain_partitions", settings, moment=datetime.now(UTC))
    assert [problem.split(",")[0] for problem in report.problems] == [
        "1 rows of raw.tool_calls of no month lie in its DEFAULT partition"
    ]
    rows = admin.execute("select tool_use_id, tableoid::regclass::text from raw.tool_calls order by 1").fetchall()
    assert rows == [
        ("a", "partitions.tool_calls_2024_02"),
        ("b", "partitions.tool_calls_2024_03"),
        ("c", "partitions.tool_calls_default"),
    ]
    assert history.rows(dsn, "raw.tool_calls") == before


@pytest.mark.parametrize("most_rows", [partitions_of_months.MOST_ROWS, 0])
def test_rows_in_default_of_a_month_that_is_due_do_not_keep_partitions_from_being_made(
    admin: psycopg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch, most_rows: int
) -> None:
    monkeypatch.setattr(partitions_of_months, "MOST_ROWS", most_rows)
    now = datetime.now(UTC)
    add_call(admin, "a", now.isoformat())
    assert f"tool_calls_{now:%Y_%m}" not in partitions(admin)
    report = history.maintain("maintain_partitions", settings, moment=now)
    following = next_month(now.date())
    assert f"tool_calls_{following:%Y_%m}" in partitions(admin)
    assert (f"tool_calls_{now:%Y_%m}" in partitions(admin)) == (most_rows > 0)
    assert [problem.split(":")[0] for problem in report.problems] == (
        []
        if most_rows
        else [
            "Rows of executions stay in DEFAULT",
            f"Partitions of {now:%Y-%m} cannot be made while rows of that month lie in DEFAULT.",
        ]
    )


def test_outcomes_in_default_move_with_all_that_hangs_on_them(
    connection: psycopg.Connection, settings: Settings, dsn: str
) -> None:
    connection.execute("insert into app.project_config (project_id, display_name) values ('project-1', 'One')")
    made = evaluation_rows.add_evaluation(connection, "project-1")
    evaluation_rows.add(
        connection, "raw.recommendations", project_id="project-1", pattern_id=made.pattern, confidence=0.25,
        execution_time=evaluation_rows.MOMENT, recommendation_type="config_change", description="Try it once more.",
    )  # fmt: skip
    connection.commit()
    before = history.rows(dsn, *history.OUTCOMES)
    report = history.maintain("maintain_partitions", settings, moment=datetime.now(UTC))
    assert report.problems == []
    assert history.rows(dsn, *history.OUTCOMES) == before
    for table in ("outcomes", "tool_usage", "failure_patterns"):
        assert evaluation_rows.value(connection, f"select count(*) from partitions.{table}_default") == 0
        assert evaluation_rows.value(connection, f"select count(*) from partitions.{table}_2026_03") > 0


def test_a_month_too_large_for_one_transaction_is_left_and_named(
    admin: psycopg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.maintenance.partitions.MOST_ROWS", 1)
    add_call(admin, "a", "2024-02-01 00:00+00")
    add_call(admin, "b", "2024-02-02 00:00+00")
    report = history.maintain("maintain_partitions", settings, moment=datetime.now(UTC))
    assert len(report.problems) == 1
    assert "more than 1 rows of executions in 2024-02 would have to move" in report.problems[0]


def test_two_of_a_job_at_once_do_the_work_once(admin: psycopg.Connection, settings: Settings, dsn: str) -> None:
    history.add_executions(admin, 2)
    before = history.live_keys(dsn, "tool_calls", "tool_use_id")
    reports: list[jobs.Report] = []

    def maintain() -> None:
        for job in ("maintain_partitions", "apply_retention"):
            reports.append(history.maintain(job, settings, wait_seconds=120))

    threads = [threading.Thread(target=maintain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=200)
    assert len(reports) == 4
    assert [report.problems for report in reports] == [[]] * 4
    assert sorted(report.counts["archived_rows"] > 0 for report in reports if report.job == "apply_retention") == [
        False,
        True,
    ]
    assert history.archived_keys(settings, "tool_calls", "tool_use_id") == before


def test_a_job_does_not_wait_for_ever_for_another(settings: Settings, dsn: str) -> None:
    with connect(dsn, role=jobs.ROLE, autocommit=True) as other, maintenance_lock(other, 0):
        with pytest.raises(MaintenanceBusyError, match="Another maintenance job is running"):
            history.maintain("maintain_partitions", settings, wait_seconds=0)
        assert history.maintain("maintain_partitions", settings, applies=False).applied is False


def test_a_run_that_died_is_failed_in_the_log_once_the_next_begins(
    admin: psycopg.Connection, settings: Settings
) -> None:
    admin.execute("insert into ops.maintenance_log (job) values ('apply_retention')")
    history.maintain("maintain_partitions", settings)
    assert admin.execute("select status from ops.maintenance_log order by log_id").fetchall() == [
        ("failed",),
        ("succeeded",),
    ]


def test_partitioned_tables_get_statistics_and_bloated_ones_a_vacuum(
    admin: psycopg.Connection, settings: Settings, dsn: str
) -> None:
    history.add_executions(admin, 40)
    admin.execute("create table public.bloated (n integer) with (autovacuum_enabled = off)")
    admin.execute("alter table public.bloated owner to tracemill_owner")
    admin.execute("insert into public.bloated select generate_series(1, 30000)")
    admin.execute("delete from public.bloated where n % 2 = 0")
    admin.execute("select pg_stat_force_next_flush()")
    with connect(dsn, role="tracemill_owner", autocommit=True) as owner:
        tasks = {str(task) for task in vacuum.plan(owner)}
        assert tasks >= {"vacuum public.bloated", "analyze raw.command_executions", "analyze raw.model_requests"}
        history.maintain("maintain_partitions", settings)
        admin.execute("select pg_stat_force_next_flush()")
        assert not {str(task) for task in vacuum.plan(owner)} & tasks
    stored = admin.execute("select reltuples from pg_class where oid = 'raw.command_executions'::regclass").fetchone()
    assert stored == (float(len(warehouse.rows_of(admin, "raw", "command_executions"))),)


def audited_history(connection: psycopg.Connection, *months: date) -> None:
    """Audit entries of two projects, moved back in time with their chains, as if they had been written then."""
    for project in ("shop", "desk"):
        connection.execute("insert into app.project_config (project_id, display_name) values (%s, %s)", [project] * 2)
    for month in months:
        history.make_audit_month(connection, month)
        for project in ("desk", "shop"):
            history.add_audit_entries(connection, project, month)
    connection.commit()


OLD, LAST, KEPT = date(2025, 5, 1), date(2025, 6, 1), date(2025, 7, 1)


def test_audit_months_older_than_a_year_leave_and_the_rest_still_verifies(
    connection: psycopg.Connection, settings: Settings, dsn: str
) -> None:
    audited_history(connection, OLD, LAST, KEPT)
    report = history.maintain("cleanup_audit_log", settings)
    assert (report.problems, report.counts["dropped_partitions"], report.counts["archived_rows"]) == ([], 2, 20)
    assert {name for name in partitions(connection) if name.startswith("audit_log_2025")} == {"audit_log_2025_07"}
    for month in (OLD, LAST, KEPT):
        assert connection.execute("select * from audit.verify_chain(%s)", [month]).fetchall() == []
    anchors = connection.execute(
        "select project_id, month, encode(last_hash, 'hex') from audit.chain_heads where archived_at is not null"
    ).fetchall()
    assert len(anchors) == 4
    for project, month, anchor in anchors:
        folder = settings.archive / "audit_log" / f"project_id={project}" / f"month={month:%Y-%m}"
        entries = pyarrow.parquet.ParquetFile(folder / "part-1.parquet").read().to_pylist()
        assert [entry["chain_number"] for entry in entries] == [1, 2, 3, 4, 5]
        assert entries[-1]["entry_hash"] == f"\\x{anchor}"
    assert history.maintain("cleanup_audit_log", settings).counts["months_due"] == 0


def test_entries_that_vanish_from_a_month_that_was_kept_still_show(
    connection: psycopg.Connection, settings: Settings
) -> None:
    audited_history(connection, KEPT)
    history.maintain("cleanup_audit_log", settings)
    connection.execute("alter table audit.audit_log detach partition partitions.audit_log_2025_07")
    problems = connection.execute("select project_id, problem from audit.verify_chain(%s)", [KEPT]).fetchall()
    assert problems == [(project, "the end of the chain is not the noted one") for project in ("desk", "shop")]


def test_a_month_of_the_audit_log_stays_whole_while_one_of_its_projects_is_on_legal_hold(
    connection: psycopg.Connection, settings: Settings, dsn: str
) -> None:
    audited_history(connection, OLD)
    connection.execute("update app.project_config set settings = '{\"legal_hold\": true}' where project_id = 'desk'")
    connection.commit()
    before = history.rows(dsn, "audit.audit_log")
    report = history.maintain("cleanup_audit_log", settings)
    assert report.counts["months_waiting"] == 2
    assert all("legal hold" in step for step in report.steps)
    assert history.rows(dsn, "audit.audit_log") == before
