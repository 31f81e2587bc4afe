"""Every condition of v_alerts: it fires with its evidence when it is provoked, and not before or after."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from pipelines import ingest
from pipelines.database import connect
from pipelines.settings import Settings
from tests.evaluation_rows import TRAJECTORY, add, add_evaluation
from tests.marts import build, warehouse_environment
from tests.monitored import SPIKE, acting_as, add_executions, alerts, rows

NOW = datetime.now(UTC)


def test_nothing_fires_where_all_is_well(operator: psycopg.Connection) -> None:
    assert alerts(operator) == {}


def test_a_costly_day_fires_with_the_days_before_as_measure_until_the_project_allows_it(
    operator: psycopg.Connection,
) -> None:
    (spike,) = rows(operator, "v_alerts", "alert = 'cost_spike'")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    assert spike["alert_key"] == f"{SPIKE}{yesterday}"
    assert (spike["severity"], spike["project_id"]) == ("warning", "spender")
    assert float(spike["evidence"]["cost_usd"]) == pytest.approx(524, rel=1e-3)
    assert float(spike["evidence"]["median_usd"]) == 24
    assert f"activity_date = '{yesterday}'" in spike["command"]
    allow(operator, "spender", cost_spike_factor=30)
    assert rows(operator, "v_alerts") == []


def test_silence_is_measured_against_the_projects_own_gaps(operator: psycopg.Connection) -> None:
    operator.execute(
        "delete from raw.command_executions where project_id = 'beta' and timestamp > now() - interval '5 hours'"
    )
    operator.execute(  # a project that works once a day is not silent after five hours
        "delete from raw.command_executions "
        "where project_id = 'alpha' and extract(hour from age(now(), timestamp)) <> 5"
    )
    (silent,) = alerts(operator).values()
    assert silent["alert_key"] == "silence:beta:executions"
    assert 5 <= float(silent["evidence"]["silent_hours"]) <= 6.1
    assert float(silent["evidence"]["usual_gap_hours"]) == 1
    add_executions(operator, ("beta",), "completed", NOW, NOW, "1 hour")
    assert alerts(operator) == {}


def test_a_project_that_has_ended_is_not_silent_for_ever(operator: psycopg.Connection) -> None:
    operator.execute(
        "update raw.command_executions set timestamp = timestamp - interval '26 days' where project_id = 'beta'"
    )
    assert not [key for key in alerts(operator) if key.startswith("silence:")]


def test_a_day_that_waits_too_long_makes_the_marts_stale(operator: psycopg.Connection) -> None:
    operator.execute(
        "insert into ops.touched_days (project_id, activity_date, touched_at) values "
        "('alpha', '2026-01-05', now() - interval '27 hours'), ('alpha', '2026-01-06', now()), "
        "('beta', '2026-01-05', now() - interval '25 hours')"
    )
    (stale,) = alerts(operator).values()
    assert (stale["alert_key"], stale["severity"]) == ("stale_mart:alpha:marts", "critical")
    assert stale["command"] == "tracemill aggregate"
    assert (stale["evidence"]["waiting_days"], stale["evidence"]["first_waiting_date"]) == (2, "2026-01-05")
    assert stale["evidence"]["last_refreshed_at"] is not None
    operator.execute("delete from ops.touched_days")
    assert alerts(operator) == {}


def test_a_dropped_partition_is_missed_until_it_is_made_again(operator: psycopg.Connection) -> None:
    month = (date(NOW.year, NOW.month, 1) + timedelta(days=32)).replace(day=1)
    operator.execute(f"drop table partitions.tool_calls_{month:%Y_%m}")
    (missing,) = alerts(operator).values()
    assert missing["alert_key"] == f"missing_partition:*:{month:%Y-%m}"
    assert missing["evidence"]["tables"] == ["raw.tool_calls"]
    operator.execute("select ops.ensure_month_partitions(%s, %s)", [month, month])
    assert alerts(operator) == {}


def test_rows_outside_every_month_are_critical_until_they_are_gone(operator: psycopg.Connection) -> None:
    old = datetime(2019, 5, 6, tzinfo=UTC)
    assert add_executions(operator, ("alpha",), "completed", old, old + timedelta(hours=2), "1 hour") == 3
    (stray,) = alerts(operator).values()
    assert (stray["alert_key"], stray["severity"]) == ("rows_in_default:*:raw.command_executions", "critical")
    assert stray["evidence"] == {"rows": 3, "months": ["2019-05-01"]}
    (coverage,) = rows(operator, "v_partition_coverage", "relation = 'raw.command_executions'")
    assert (coverage["default_row_count"], coverage["is_covered"]) == (3, False)
    operator.execute("delete from raw.command_executions where timestamp < '2020-01-01'")
    assert alerts(operator) == {}


@pytest.mark.parametrize(
    "damage",
    [
        "alter table marts.session_summary disable row level security",
        "alter table marts.session_summary no force row level security",
        "alter view monitoring.v_alerts set (security_invoker = false)",
        "grant select on ops.aggregation_days to app_user",
    ],
)
def test_a_relation_that_is_open_to_tenants_is_critical(operator: psycopg.Connection, damage: str) -> None:
    operator.execute(damage)
    (opened,) = [alert for alert in alerts(operator).values() if alert["alert"] == "unprotected_relation"]
    assert opened["severity"] == "critical"
    assert opened["subject"] in damage
    assert [row["relation"] for row in rows(operator, "v_rls_coverage", "not is_protected")] == [opened["subject"]]


def test_a_flood_of_bad_lines_fires_and_a_few_among_many_do_not(
    operator: psycopg.Connection, monitored: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    opening = {
        "type": "user", "uuid": "11111111-1111-4111-8111-111111111111", "sessionId": "s", "cwd": "/work",
        "timestamp": "2026-01-01T00:00:00Z", "message": {"role": "user", "content": "hi"},
    }  # fmt: skip
    lines = [json.dumps(opening), *(f'{{"broken {n}' for n in range(30))]
    (folder / "flood.jsonl").write_text("\n".join(lines) + "\n")
    report = ingest.run([folder], dsn=monitored.database_url or "", settings=monitored, project="noisy", jobs=1)
    try:
        assert report.quarantined == 30
        (flood,) = [alert for alert in alerts(operator).values() if alert["alert"] == "quarantine_rate"]
        assert (flood["project_id"], flood["evidence"]["new_lines"]) == ("noisy", 30)
        assert flood["evidence"]["commonest_reason"] in flood["summary"]
        operator.execute("update ops.ingest_files set committed_lines = 5000")
        assert not [key for key in alerts(operator) if key.startswith("quarantine_rate")], "30 of 5,000 is below 1 %"
    finally:
        operator.rollback()
        for table in ("quarantined_records", "ingest_files", "touched_days"):
            operator.execute(f"delete from ops.{table}")
        operator.execute("delete from raw.command_executions where project_id = 'noisy'")
        operator.commit()


def test_failing_executions_fire_when_even_the_low_end_of_the_interval_is_too_high(
    operator: psycopg.Connection,
) -> None:
    first = NOW - timedelta(minutes=18)
    failed = add_executions(operator, ("alpha",), "failed", first, NOW, "1 minute")
    (finished,) = operator.execute(
        "select count(*) from raw.command_executions "
        "where project_id = 'alpha' and timestamp > now() - interval '1 day'"
    ).fetchone()
    (failing,) = alerts(operator).values()
    assert failing["alert_key"] == "error_rate:alpha:executions"
    assert (failing["evidence"]["errors"], failing["evidence"]["finished"]) == (failed, finished)
    assert float(failing["evidence"]["rate_low"]) == pytest.approx(wilson_low(failed, finished), abs=1e-4)
    operator.execute("update raw.command_executions set status = 'pending' where status = 'failed'")
    assert alerts(operator) == {}, "what has not ended has not failed"


def test_failing_outcomes_fire_apart_from_executions(operator: psycopg.Connection) -> None:
    made = add_evaluation(operator, "beta")
    for minute in range(25):
        add(
            operator, "raw.outcomes", project_id="beta", simulation_id=made.simulation, scenario_id=made.scenario,
            execution_time=NOW - timedelta(minutes=minute), epoch=2 + minute, trajectory=TRAJECTORY,
            status="timeout" if minute % 2 else "success",
        )  # fmt: skip
    failing = alerts(operator)["error_rate:beta:outcomes"]
    assert (failing["evidence"]["errors"], failing["evidence"]["finished"]) == (12, 25)
    allow(operator, "beta", error_rate=0.5)
    assert "error_rate:beta:outcomes" not in alerts(operator)


def test_size_connections_slow_statements_and_budgets_fire_at_their_limits(
    operator: psycopg.Connection, monitored: Settings
) -> None:
    """Limits of the platform are variables of dbt: lowered, they are passed by what is there."""
    size = f"database_size:*:{operator.info.dbname}"
    connections, statements = "connection_use:*:server", "slow_queries:*:statements"
    with acting_as(operator, "app_readonly"):
        for _ in range(5):
            operator.execute("select pg_sleep(0.06)")
    operator.execute("update app.project_config set monthly_budget_usd = 10 where project_id = 'beta'")
    operator.execute("update app.project_config set monthly_budget_usd = 1e6 where project_id = 'alpha'")
    operator.commit()
    limits = "{alert_database_size_bytes: 1000000, alert_connection_share: 0.001, alert_slow_query_ms: 50}"
    with limits_changed(operator, monitored, limits):
        fired = alerts(operator)
        (budget,) = {*fired} - {size, connections, statements}
        assert_budget_is_passed(operator, fired[budget])
        assert fired[size]["evidence"]["size_bytes"] == pytest.approx(
            operator.execute("select pg_database_size(current_database())").fetchone()[0], rel=0.1
        )
        assert fired[connections]["evidence"]["limit"] == 200
        slowest = fired[statements]["evidence"]["slowest"]
        assert (slowest["kind"], slowest["role_name"], slowest["calls"]) == ("average", "app_readonly", 5)
        assert slowest["statement"] == "select pg_sleep($1)"
        (slow,) = rows(operator, "v_slow_queries", "is_slow")
        assert slow["mean_ms"] >= 60

        operator.execute("select pg_stat_statements_reset(0, oid) from pg_database where datname = current_database()")
        assert statements not in alerts(operator)
        operator.commit()

        with running_statement(monitored, "select pg_sleep(20)"):
            slowest = alerts(operator)[statements]["evidence"]["slowest"]
            assert (slowest["kind"], slowest["role_name"]) == ("running", "tracemill_reader")
            operator.commit()
        assert statements not in alerts(operator)
    assert alerts(operator) == {}


def assert_budget_is_passed(connection: psycopg.Connection, alert: dict[str, Any]) -> None:
    """By the day before this one, a night after which the marts end."""
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    (spent,) = connection.execute(
        "select sum(cost_usd) from raw.model_requests where project_id = 'beta' "
        "and timestamp >= date_trunc('month', %(day)s::timestamp) at time zone 'UTC' "
        "and timestamp < (%(day)s::timestamp + interval '1 day') at time zone 'UTC'",
        {"day": day},
    ).fetchone()
    assert (alert["alert_key"], alert["severity"]) == (f"budget:beta:{day:%Y-%m}", "critical")
    evidence = alert["evidence"]
    assert (evidence["status"], evidence["spent_usd"], evidence["monthly_budget_usd"]) == ("exceeded", spent, 10)


@contextmanager
def limits_changed(connection: psycopg.Connection, settings: Settings, limits: str) -> Iterator[None]:
    """The views and budgets built by dbt with other limits, and afterwards as they were."""
    connection.execute("create temporary table budgets as select * from marts.budget_status")
    views = ("v_alerts", "v_slow_queries")
    before = {
        view: connection.execute(f"select pg_get_viewdef('monitoring.{view}'::regclass)").fetchone()[0]
        for view in views
    }
    connection.commit()
    with warehouse_environment(settings, settings.database_url or ""):
        build(connection, [], "--select", *views, "budget_status", "--vars", limits, command="run")
    try:
        yield
    finally:
        connection.rollback()
        for view, definition in before.items():
            connection.execute(
                f"create or replace view monitoring.{view} with (security_invoker = true) as {definition}"
            )
        connection.execute("update app.project_config set monthly_budget_usd = null")
        connection.execute("delete from marts.budget_status")
        connection.execute("insert into marts.budget_status select * from budgets")
        connection.commit()


@contextmanager
def running_statement(settings: Settings, statement: str) -> Iterator[None]:
    """A statement of an analyst's login that is under way, cancelled at the end."""
    with connect(make_conninfo(settings.database_url or "", user="tracemill_reader"), autocommit=True) as connection:
        thread = Thread(target=_cancelled, args=(connection, statement))
        thread.start()
        time.sleep(0.3)
        try:
            yield
        finally:
            connection.cancel_safe()
            thread.join()


def _cancelled(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(statement)


def allow(connection: psycopg.Connection, project: str, **thresholds: float) -> None:
    connection.execute(
        "update app.project_config set settings = %s where project_id = %s", [Jsonb({"alerts": thresholds}), project]
    )


def wilson_low(successes: int, trials: int) -> float:
    """Textbook formula at z = 1.96."""
    z, share = 1.96, successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * ((share * (1 - share) + z * z / (4 * trials)) / trials) ** 0.5
    return (centre - spread) / (1 + z * z / trials)
