"""Where conditions of v_alerts draw the line; that each begins and ends is shown in test_alert_lifecycle.py."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from pipelines import ingest
from pipelines.settings import Settings
from tests.monitored import add_executions, alerts

NOW = datetime.now(UTC)


def test_nothing_fires_where_all_is_well(operator: psycopg.Connection) -> None:
    assert alerts(operator) == {}


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


def wilson_low(successes: int, trials: int) -> float:
    """Textbook formula at z = 1.96."""
    z, share = 1.96, successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * ((share * (1 - share) + z * z / (4 * trials)) / trials) ** 0.5
    return (centre - spread) / (1 + z * z / trials)
