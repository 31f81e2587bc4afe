"""What analysts ask of every mart, one project at a time, and how long they wait for it.

Each query takes ``Values`` as parameters.
"""

from datetime import date, timedelta
from itertools import chain, cycle, islice

from psycopg.rows import dict_row

from benchmarks.meter import Meter, Timings
from benchmarks.readers import LOGIN, TOKEN, let_in, readers
from pipelines.database import connect

_MONTH = "project_id = %(project)s and activity_date > %(before_month)s and activity_date <= %(last_date)s"
_COMPARISON = "project_id = %(project)s and task = %(task)s and metric = %(metric)s and dataset_hash = %(dataset_hash)s"

READS = {
    "budget_status": "select * from budget_status where project_id = %(project)s",
    "cache_effectiveness": "select activity_date, sum(cached_tokens), sum(input_tokens), sum(cache_savings_usd) "
    f"from cache_effectiveness where {_MONTH} group by activity_date order by activity_date",
    "command_costs, a day": "select * from command_costs where project_id = %(project)s "
    "and activity_date = %(last_date)s order by cost_usd desc nulls last limit 50",
    "command_costs, a pattern": "select activity_date, model, cost_usd, total_tokens from command_costs "
    f"where {_MONTH} and pattern_signature = %(pattern_signature)s order by activity_date, model",
    "command_pattern_history": "select * from command_pattern_history where project_id = %(project)s "
    "and pattern_id = %(pattern_id)s order by snapshot_date desc limit 90",
    "command_patterns, the dearest": "select * from command_patterns where project_id = %(project)s "
    "order by cost_usd desc nulls last limit 20",
    "command_patterns, one": "select * from command_patterns where project_id = %(project)s "
    "and pattern_signature = %(pattern_signature)s",
    "config_diff_impact": "select * from config_diff_impact where project_id = %(project)s "
    "and config_id = %(config_id)s order by version_number_after desc, measure limit 50",
    "config_version_performance": "select * from config_version_performance where project_id = %(project)s "
    "and config_id = %(config_id)s order by version_number desc limit 20",
    "cost_forecast": "select * from cost_forecast where project_id = %(project)s order by forecast_date",
    "daily_command_stats, all": "select activity_date, sum(execution_count), sum(total_tokens), sum(cost_usd) "
    f"from daily_command_stats where {_MONTH} group by activity_date order by activity_date",
    "daily_command_stats, a command": f"select * from daily_command_stats where {_MONTH} "
    "and command_base = %(command_base)s order by activity_date",
    "dim_dates": "select * from dim_dates where calendar_date > %(before_month)s and calendar_date <= %(last_date)s",
    "dim_workspaces": "select * from dim_workspaces where project_id = %(project)s "
    "order by cost_usd desc nulls last limit 20",
    "error_rates_daily": "select activity_date, sum(attempt_count), sum(passed_count), sum(failed_count) "
    f"from error_rates_daily where {_MONTH} group by activity_date order by activity_date",
    "failure_summary": "select * from failure_summary where project_id = %(project)s order by cost_rank limit 20",
    "hourly_token_usage": "select * from hourly_token_usage where project_id = %(project)s "
    "and activity_hour >= %(last_date)s::date - 6 order by activity_hour",
    "model_usage_daily": f"select * from model_usage_daily where {_MONTH} order by activity_date, model",
    "optimization_daily_trend": "select * from optimization_daily_trend where project_id = %(project)s "
    "and run_date > %(before_month)s order by run_date, optimizer_type",
    "optimization_leaderboard": f"select * from optimization_leaderboard where {_COMPARISON} "
    "order by leaderboard_rank limit 20",
    "optimization_progress": "select * from optimization_progress where project_id = %(project)s "
    "and run_id = %(run_id)s order by iteration",
    "optimization_run_analytics": "select * from optimization_run_analytics where project_id = %(project)s",
    "optimizer_comparison": f"select * from optimizer_comparison where {_COMPARISON}",
    "project_spend_daily": f"select * from project_spend_daily where {_MONTH} order by activity_date",
    "scenario_reliability": "select * from scenario_reliability where project_id = %(project)s "
    "order by reliability nulls last limit 20",
    "session_summary, the newest": "select * from session_summary where project_id = %(project)s "
    "order by started_at desc limit 50",
    "session_summary, the dearest of a day": "select * from session_summary where project_id = %(project)s "
    "and last_activity_date = %(last_date)s order by cost_usd desc nulls last limit 20",
    "session_summary, one": "select * from session_summary where project_id = %(project)s "
    "and session_id = %(session_id)s",
    "source_reconciliation": f"select * from source_reconciliation where {_MONTH} order by activity_date",
    "tool_performance": "select * from tool_performance where project_id = %(project)s "
    "and config_version_id = %(config_version_id)s order by call_count desc",
    "tool_usage_daily": f"select * from tool_usage_daily where {_MONTH} order by activity_date, tool_name",
}
"""Statement by what is asked; the words before a comma name the mart."""


_THINGS = (
    "select id as pattern_id, pattern_signature, command_base from marts.command_patterns where project_id = %s "
    "order by md5(id::text) limit %s",
    "select session_id from marts.session_summary where project_id = %s order by md5(session_id) limit %s",
    "select run_id, task, metric, dataset_hash from marts.optimization_leaderboard where project_id = %s "
    "order by md5(run_id::text) limit %s",
    "select config_id, config_version_id from marts.config_version_performance where project_id = %s "
    "order by md5(config_version_id::text) limit %s",
)

Values = dict[str, object]
"""Parameters of the queries: things of one project that are there."""


def choose(dsn: str, last_date: date, count: int) -> dict[str, list[Values]]:
    """Project → what ``count`` people ask about there, the same each time."""
    when = {"last_date": last_date, "before_month": last_date - timedelta(days=30)}
    with connect(dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:
        projects = cursor.execute("select distinct project_id from marts.project_spend_daily order by 1").fetchall()
        found = {}
        for project in (str(row["project_id"]) for row in projects):
            things = [cycle(cursor.execute(query, [project, count]).fetchall()) for query in _THINGS]
            found[project] = [
                {"project": project, **when, **dict(chain.from_iterable(thing.items() for thing in asked))}
                for asked in islice(zip(*things, strict=True), count)
            ]
    return found


def ask(dsn: str, last_date: date, calls: int) -> list[Timings]:
    """Every query as a person with a login asks it and as a service with a token does, ``calls`` times each.

    All has been asked once before and so been read from disk.
    """
    timings = {name: Timings(name) for name in READS}
    with readers(dsn) as connections, connect(dsn, autocommit=True) as owner:
        meters = {way: Meter(connection) for way, connection in connections.items()}
        asked = choose(dsn, last_date, calls)
        for project, people in asked.items():
            let_in(owner, connections[TOKEN], project)
            for name, query in READS.items():
                people = people[: -(-calls // len(asked))]
                for values in people:
                    connections[LOGIN].execute(query, values)
                for values in people:
                    for way, meter in meters.items():
                        timings[name].add(way, meter.measure(query, values))
    return list(timings.values())
