"""The monitoring views against what the catalogue and the raw rows say themselves, and what tenants see of them."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.evaluation_rows import TRAJECTORY, add, add_evaluation
from tests.monitored import PROJECTS, acting_as, rows

NOW = datetime.now(UTC)
FOR_OPERATORS = (
    "v_database_health", "v_index_usage", "v_partition_coverage", "v_rls_coverage", "v_slow_queries", "v_table_sizes"
)  # fmt: skip
FOR_PROJECTS = (
    "v_active_simulations", "v_alerts", "v_error_rates", "v_ingest_health", "v_mart_freshness", "v_system_performance"
)  # fmt: skip


def test_every_view_is_of_one_of_the_two_kinds(operator: psycopg.Connection) -> None:
    views = operator.execute("select viewname from pg_views where schemaname = 'monitoring'").fetchall()
    assert {name for (name,) in views} == {*FOR_OPERATORS, *FOR_PROJECTS}


@pytest.mark.parametrize("role", ["service_role", "authenticated", "app_user", "app_admin", "app_readonly"])
def test_tenants_see_their_own_projects_and_nothing_of_the_platform(operator: psycopg.Connection, role: str) -> None:
    for project in PROJECTS:
        add_evaluation(operator, project)
        add(
            operator, "raw.outcomes", project_id=project, simulation_id=simulation_of(operator, project, "completed"),
            scenario_id="book_a_flight", execution_time=NOW, status="error", trajectory=TRAJECTORY, epoch=2,
        )  # fmt: skip
        simulation_of(operator, project, "running")
        operator.execute(
            "insert into ops.ingest_files (file_key, path, device_id, project_id, size_bytes, modified_at, "
            "content_key, committed_lines, quarantined_count) values (%s, %s, 'device', %s, 1, now(), 'key', 30, 30)",
            [f"file of {project}", f"/logs/{project}", project],
        )
        operator.execute(
            "insert into ops.quarantined_records (record_key, file_key, path, line_number, byte_offset, byte_length, "
            "project_id, reason, detail, sample) "
            "select %s || n, %s, '/logs', n, n, 1, %s, 'malformed', '', '' from generate_series(1, 30) as n",
            [project, f"file of {project}", project],
        )
    operator.execute("delete from raw.tool_calls")
    operator.execute("drop table partitions.tool_calls_default")
    with acting_as(operator, role, "beta"):
        for view in FOR_OPERATORS:
            assert operator.execute(f"select count(*) from monitoring.{view}").fetchone() == (0,), view
        for view in FOR_PROJECTS:
            found = operator.execute(f"select distinct project_id from monitoring.{view}").fetchall()
            assert found == [("beta",)], view
    with acting_as(operator, role):
        for view in (*FOR_OPERATORS, *FOR_PROJECTS):
            assert operator.execute(f"select count(*) from monitoring.{view}").fetchone() == (0,), view
    for view in FOR_OPERATORS:
        assert rows(operator, view), f"operators see {view}"
    for view in FOR_PROJECTS:
        assert {row["project_id"] for row in rows(operator, view)} >= set(PROJECTS), view


def test_tenants_cannot_go_around_the_views(operator: psycopg.Connection) -> None:
    for relation in ("ops.quarantined_records", "ops.alert_states", "staging.stg_tracemill__ingest_files"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(operator, "app_readonly", "beta"):
            operator.execute(f"select * from {relation}")
    for call in ("ops.rows_in_default()", "ops.statement_statistics()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), acting_as(operator, "app_readonly", "beta"):
            operator.execute(f"select * from {call}")


def test_every_role_with_a_right_to_the_ledger_sees_all_of_it_or_its_projects(operator: psycopg.Connection) -> None:
    """A policy that forgot a role of the platform would show it an empty table, and that for an answer."""
    forgotten = operator.execute(
        """
        select c.relname, a.grantee::regrole::text
        from pg_class as c
        cross join aclexplode(c.relacl) as a
        where c.relnamespace = 'ops'::regnamespace and c.relrowsecurity
            and not exists (select from pg_policy as p where p.polrelid = c.oid and a.grantee = any(p.polroles))
        """
    ).fetchall()
    assert forgotten == []


def simulation_of(connection: psycopg.Connection, project: str, status: str, **columns: object) -> object:
    """A simulation of the project's first version, with the scenario it has."""
    (version,) = connection.execute(
        "select version_id from raw.config_versions where project_id = %s order by version_number limit 1", [project]
    ).fetchone()
    (count,) = connection.execute("select count(*) from raw.simulations").fetchone()
    ended = {"completed_at": NOW} if status == "completed" else {}
    simulation = add(
        connection, "raw.simulations", project_id=project, config_version_id=version, status=status, source="test",
        source_key=f"more {count}", **{**ended, **columns},
    )["simulation_id"]  # fmt: skip
    add(
        connection, "raw.simulation_scenarios", project_id=project, simulation_id=simulation,
        scenario_id="book_a_flight", execution_order=1,
    )  # fmt: skip
    return simulation


def test_system_performance_has_every_hour_and_means_over_what_has_ended(operator: psycopg.Connection) -> None:
    add_evaluation(operator, "alpha")
    hour = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    amounts = {"started_at": hour + timedelta(minutes=5)}
    simulation_of(
        operator, "alpha", "completed", execution_time_ms=1000, total_cost_usd=2, overall_score_raw=1, **amounts
    )
    simulation_of(operator, "alpha", "failed", execution_time_ms=3000, **amounts)
    simulation_of(operator, "alpha", "running", overall_score_raw=0.5, **amounts)
    found = {row["hour_at"]: row for row in rows(operator, "v_system_performance", "project_id = 'alpha'")}
    assert len(found) == 24
    busy = found[hour]
    counts = ("total_simulations", "finished_count", "completed_count", "failed_count", "active_count")
    assert [busy[name] for name in counts] == [3, 2, 1, 1, 1]
    assert (busy["failure_rate"], busy["avg_execution_time_ms"]) == (0.5, 2000)
    assert (busy["total_cost_usd"], busy["unpriced_count"]) == (2, 2)
    assert (busy["avg_score"], busy["scored_count"]) == (0.75, 2)
    idle = found[hour - timedelta(hours=1)]
    assert (idle["total_simulations"], idle["failure_rate"], idle["avg_score"]) == (0, None, None)


def test_active_simulations_say_how_far_they_are_and_which_are_overdue(operator: psycopg.Connection) -> None:
    add_evaluation(operator, "alpha")
    begun = datetime.now(UTC) - timedelta(minutes=2)
    running = simulation_of(operator, "alpha", "running", started_at=begun, timeout_ms=60_000)
    operator.execute("update raw.simulation_scenarios set status = 'completed' where simulation_id = %s", [running])
    waiting = simulation_of(operator, "alpha", "pending")
    found = {row["simulation_id"]: row for row in rows(operator, "v_active_simulations")}
    assert set(found) == {running, waiting}
    assert (found[running]["progress_pct"], found[running]["is_overdue"], found[running]["model"]) == (100, True, "m")
    assert found[running]["runtime_seconds"] == pytest.approx(120, abs=60)
    assert (found[waiting]["runtime_seconds"], found[waiting]["is_overdue"]) == (None, False)
    assert found[waiting]["waiting_seconds"] >= 0


def test_error_rates_count_timeouts_and_say_how_sure_they_are(operator: psycopg.Connection) -> None:
    made = add_evaluation(operator, "alpha")
    for epoch, status in enumerate(["success", "error", "timeout", "cancelled"], 2):
        add(
            operator, "raw.outcomes", project_id="alpha", simulation_id=made.simulation, scenario_id=made.scenario,
            execution_time=NOW, status=status, trajectory=TRAJECTORY, epoch=epoch,
        )  # fmt: skip
    (found,) = rows(operator, "v_error_rates")
    assert found["window_end_date"] == found["activity_date"] == NOW.date()
    assert (found["total_runs"], found["error_rate_pct"]) == (4, 50)
    assert (found["error_rate_pct_low"], found["error_rate_pct_high"]) == pytest.approx((15.00, 85.00), abs=0.01)


def test_table_sizes_count_partitions_with_their_table(operator: psycopg.Connection) -> None:
    found = {row["relation"]: row for row in rows(operator, "v_table_sizes")}
    (parts, size) = operator.execute(
        "select count(*), sum(pg_total_relation_size(oid)) from pg_class "
        "where relnamespace = 'partitions'::regnamespace and relkind = 'r' and relname like 'tool_calls%'"
    ).fetchone()
    assert (found["raw.tool_calls"]["partition_count"], found["raw.tool_calls"]["total_bytes"]) == (parts, size)
    (whole,) = operator.execute(
        "select sum(pg_total_relation_size(c.oid)) from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where c.relkind in ('r', 'm') and n.nspname in "
        "('raw', 'app', 'audit', 'ops', 'intermediate', 'marts', 'partitions')"
    ).fetchone()
    assert sum(row["total_bytes"] for row in found.values()) == whole


def test_index_usage_finds_an_index_that_nobody_uses_and_spares_keys(operator: psycopg.Connection) -> None:
    operator.execute("create index of_no_use on raw.tool_calls (status)")
    found = {row["index_name"]: row for row in rows(operator, "v_index_usage")}
    unused = found["of_no_use"]
    (parts,) = operator.execute(
        "select count(*) from pg_inherits where inhparent = 'raw.tool_calls'::regclass"
    ).fetchone()
    assert (unused["relation"], unused["is_unused"], unused["part_count"]) == ("raw.tool_calls", True, parts)
    assert not found["tool_calls_pkey"]["is_unused"]


def test_without_statement_statistics_one_row_says_so_and_nothing_breaks(operator: psycopg.Connection) -> None:
    operator.execute("drop extension pg_stat_statements")
    (only,) = rows(operator, "v_slow_queries")
    assert (only["is_available"], only["is_slow"]) == (False, False)
    assert "pg_stat_statements" in only["detail"]
    assert rows(operator, "v_alerts") != []
    health = {row["measurement"]: row for row in rows(operator, "v_database_health")}
    assert health["statement_statistics"]["measured"] == 0


def test_statements_are_shown_without_secrets(operator: psycopg.Connection) -> None:
    with acting_as(operator, "tracemill_owner"):
        # Long enough to be among the slowest, which alone are shown.
        operator.execute("select pg_sleep(0.3) as waited /* password=hunter2secret */")
    shown = [row["statement"] for row in rows(operator, "v_slow_queries") if "as waited" in (row["statement"] or "")]
    assert shown
    assert not [statement for statement in shown if "hunter2secret" in statement]


def test_all_relations_are_protected_and_all_tables_ready_for_the_months_ahead(operator: psycopg.Connection) -> None:
    coverage = rows(operator, "v_rls_coverage")
    assert [row["relation"] for row in coverage if not row["is_protected"]] == []
    assert {"raw.outcomes", "marts.session_summary", "monitoring.v_alerts", "ops.ingest_files"} <= {
        row["relation"] for row in coverage if row["is_readable_by_tenants"]
    }
    partitions = {row["relation"]: row for row in rows(operator, "v_partition_coverage")}
    assert set(partitions) == {
        "raw.command_executions", "raw.model_requests", "raw.tool_calls", "raw.outcomes", "raw.tool_usage",
        "raw.failure_patterns", "audit.audit_log",
    }  # fmt: skip
    assert all(row["is_covered"] for row in partitions.values())
