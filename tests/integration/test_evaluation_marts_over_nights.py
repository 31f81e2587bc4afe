"""Night after night, the marts of evaluations are what a build from scratch would make of the raw rows.

Days are built at once, a day follows, then a night on which old days have changed in every way they can: attempts
came late, went away and got another verdict, a run turned out to have been of another version, and a change of the
configuration was described afterwards.
"""

from datetime import date, timedelta

import psycopg

from pipelines.database import connect
from pipelines.settings import Settings
from tests.evaluation_history import CONFIG_ID, History, diff_id, insert, version_id
from tests.evaluation_rows import add, value
from tests.marts import build, contents, differing, warehouse_environment

HISTORY = History(date(2026, 1, 1), days=44, scenarios=4)
ENTERING = HISTORY.dates[-1] + timedelta(days=1)
LATE, GONE, MOVED = HISTORY.dates[2], HISTORY.dates[7], HISTORY.dates[25]
MODELS = ("--select", "+path:models/marts/evaluation")
TABLES = ("--select", "+path:models/marts/evaluation,config.materialized:incremental")
EVERYTHING = ("--full-refresh", *MODELS, "--indirect-selection", "cautious")


def touched(connection: psycopg.Connection) -> list[date]:
    return [day for (day,) in connection.execute("select distinct activity_date from ops.touched_days order by 1")]


def change_old_evaluations(connection: psycopg.Connection) -> None:
    insert(connection, History(LATE, days=1, scenarios=4, projects=("north",)), seed="late")
    connection.execute(
        "delete from raw.outcomes where project_id = 'south' and (execution_time at time zone 'UTC')::date = %s", [GONE]
    )
    connection.execute(
        """
        update raw.outcomes set is_passed = not is_passed, status = 'success', cost_usd = cost_usd * 2
        where project_id = 'north' and (execution_time at time zone 'UTC')::date = %s and scenario_id = 's1'
        """,
        [GONE],
    )
    # Only this tells of itself: the marts cannot see that rows of old days are now another version's.
    connection.execute(
        "update raw.simulations set config_version_id = %s where config_version_id = %s and created_at::date = %s",
        [version_id(1), version_id(2), MOVED],
    )
    add(
        connection, "raw.config_diffs", project_id="south", diff_id=diff_id(13), config_id=CONFIG_ID,
        version_before=version_id(1), number_before=1, version_after=version_id(3), number_after=3, change_summary={},
    )  # fmt: skip
    connection.execute(
        "update raw.config_diffs set approval_status = 'approved', approved_by = 'x', approved_at = now()"
    )


def test_evaluations_over_nights_equal_a_build_from_scratch(dsn: str, settings: Settings):
    with warehouse_environment(settings, dsn), connect(dsn) as connection:
        insert(connection, HISTORY)
        build(connection, HISTORY.dates, *MODELS, command="run")
        insert(connection, History(ENTERING, days=1, scenarios=4), seed="entering")
        build(connection, [ENTERING], *TABLES, command="run")
        before = contents(connection)

        assert touched(connection) == []
        change_old_evaluations(connection)
        assert touched(connection) == [MOVED], "the run that changed its version, with nobody to say so"
        build(connection, [LATE, GONE, MOVED, ENTERING], *TABLES, command="run")
        after = contents(connection)
        assert {table.partition(".")[2] for table in differing(before, after)} >= {
            "config_version_performance", "config_diff_impact", "scenario_reliability", "tool_performance",
            "failure_summary", "error_rates_daily", "int_version_sketches", "int_tool_sequence_days",
        }  # fmt: skip
        described = "select count(*) from marts.config_diff_impact where diff_id = %s and scenario_count > 0"
        assert value(connection, described, diff_id(13)) == 5

        build(connection, [], *TABLES, command="run")
        assert differing(after, contents(connection)) == [], "an empty list changes nothing"

        build(connection, [ENTERING], *EVERYTHING, "--vars", "{reconcile_all_days: true}")
        assert differing(after, contents(connection)) == [], "and neither does a build from scratch"
