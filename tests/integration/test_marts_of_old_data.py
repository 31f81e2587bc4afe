"""A warehouse whose data are all older than the window, or whose costs do not divide, passes the tests of its marts."""

import json
from datetime import date
from pathlib import Path

import pytest

from pipelines import ingest
from pipelines.database import connect
from pipelines.samples import generate
from pipelines.settings import Settings
from tests.evaluation_rows import value
from tests.marts import build, warehouse_environment

pytestmark = pytest.mark.slow

LAST_DAY = date(2026, 3, 2)
MONTHS_LATER = date(2026, 6, 30)
EVALUATION = [
    {"type": "simulation", "id": "r1", "config": {"model": "m"}, "started_at": "2026-03-01T00:00:00Z"},
    {"type": "scenario", "id": "s", "prompt": "q"},
    {"type": "outcome", "scenario": "s", "status": "error", "error": "one of three", "cost_usd": 0.0000025,
     "time": "2026-03-01T00:00:00Z"},
]  # fmt: skip


def test_a_night_long_after_the_last_execution_builds_the_marts(dsn: str, settings: Settings, tmp_path: Path) -> None:
    generate(tmp_path / "logs", days=2, last_day=LAST_DAY, size_bytes=60_000)
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in EVALUATION))
    assert ingest.run([tmp_path], dsn=dsn, settings=settings).files_by_state["failed"] == 0
    with warehouse_environment(settings, dsn), connect(dsn) as connection:
        connection.execute(
            "insert into raw.failure_patterns (project_id, pattern_id, outcome_id, execution_time, failure_type, "
            "failure_category, error_message, error_template, cluster_id) "
            "select project_id, gen_random_uuid(), outcome_id, execution_time, failure_type, failure_category, "
            "error_message || n, error_template || n, gen_random_uuid() "
            "from raw.failure_patterns cross join generate_series(1, 2) as n"
        )
        days = connection.execute("select distinct activity_date from ops.touched_days").fetchall()
        build(connection, [*(day for (day,) in days), MONTHS_LATER])
        assert value(connection, "select window_end from intermediate.int_aggregation_window") == MONTHS_LATER
        assert value(connection, "select count(*) from marts.command_pattern_history") == 0
        assert value(connection, "select count(*) from marts.daily_command_stats") > 0
        assert value(connection, "select count(*) from marts.failure_summary") == 3
