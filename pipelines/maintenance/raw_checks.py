"""What must hold in the raw tables whatever was ingested: asked of the days that changed, not of all history.

Every check returns how many rows break the rule, and an example to look at. They read as tracemill_ingest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

IDENTITIES = {"command_executions": "id", "model_requests": "request_key", "tool_calls": "tool_use_id"}
"""Raw table → what, together with project_id, names a row once and only once."""

PARTITIONED = {
    **dict.fromkeys(IDENTITIES, "timestamp"),
    **dict.fromkeys(("outcomes", "tool_usage", "failure_patterns"), "execution_time"),
}
"""Raw table with monthly partitions → the column that they are made by."""

# Probes an index for each row of a touched day, in whatever month its partner lies.
_DUPLICATES = """
select count(*), min(r.project_id || ' ' || r.{key}::text)
from ops.touched_days as t
join {table} as r
    on r.project_id = t.project_id
    and r.timestamp >= t.activity_date::timestamp at time zone 'UTC'
    and r.timestamp < (t.activity_date + 1)::timestamp at time zone 'UTC'
where exists (
    select from {table} as other
    where other.project_id = r.project_id and other.{key} = r.{key} and other.timestamp <> r.timestamp
)
"""

_TOKENS = """
select count(*), min(e.project_id || ' ' || e.id::text)
from ops.touched_days as t
join raw.command_executions as e
    on e.project_id = t.project_id
    and e.timestamp >= t.activity_date::timestamp at time zone 'UTC'
    and e.timestamp < (t.activity_date + 1)::timestamp at time zone 'UTC'
cross join lateral (
    select
        coalesce(sum(r.input_tokens + r.cache_creation_tokens + r.cache_read_tokens), 0) as input_tokens,
        coalesce(sum(r.cache_creation_tokens), 0) as cache_creation_tokens,
        coalesce(sum(r.cache_read_tokens), 0) as cached_tokens,
        coalesce(sum(r.output_tokens), 0) as output_tokens
    from raw.model_requests as r
    where r.project_id = e.project_id and r.execution_id = e.id
) as owned
where (e.input_tokens, e.cache_creation_tokens, e.cached_tokens, e.output_tokens)
    <> (owned.input_tokens, owned.cache_creation_tokens, owned.cached_tokens, owned.output_tokens)
"""

_STATISTICS = """
select count(*), min(r.project_id || ' ' || r.id::text)
from ops.touched_days as t
join raw.optimization_runs as r
    on r.project_id = t.project_id
    and r.created_at >= t.activity_date::timestamp at time zone 'UTC'
    and r.created_at < (t.activity_date + 1)::timestamp at time zone 'UTC'
cross join lateral (
    select
        count(*) as iterations,
        coalesce(sum(i.tokens_used), 0) as tokens,
        coalesce(sum(i.cost_usd), 0) as cost_usd,
        count(*) filter (where i.is_best) as best_iterations,
        count(i.score_raw) > 0 as has_score
    from raw.optimization_iterations as i
    where i.project_id = r.project_id and i.run_id = r.id
) as counted
where (r.iterations, r.iteration_tokens, r.iteration_cost_usd, counted.best_iterations)
    <> (counted.iterations, counted.tokens, counted.cost_usd, counted.has_score::integer)
"""

_OUTCOMES = """
select count(*), min(project_id || ' ' || simulation_id::text || ' ' || scenario_id)
from (
    select o.project_id, o.simulation_id, o.scenario_id, o.epoch
    from ops.touched_days as t
    join raw.outcomes as touched
        on touched.project_id = t.project_id
        and touched.execution_time >= t.activity_date::timestamp at time zone 'UTC'
        and touched.execution_time < (t.activity_date + 1)::timestamp at time zone 'UTC'
    join raw.outcomes as o
        on o.project_id = touched.project_id and o.simulation_id = touched.simulation_id
        and o.scenario_id = touched.scenario_id and o.epoch = touched.epoch
    group by o.project_id, o.simulation_id, o.scenario_id, o.epoch
    having count(distinct o.outcome_id) > 1
) as repeated
"""

_DEFAULT_PARTITION = """
select c.oid::bigint, pg_relation_size(c.oid)
from pg_class as c
join pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'partitions' and c.relname = %s
"""


@dataclass(frozen=True)
class Finding:
    """How many rows break a rule; none when it holds."""

    count: int
    example: str | None


@dataclass(frozen=True)
class RawCheck:
    """One rule about one raw table."""

    table: str
    name: str
    description: str
    run: Callable[[psycopg.Connection[Any]], Finding]


def _rows_outside_partitions(table: str) -> Callable[[psycopg.Connection[Any]], Finding]:
    query = sql.SQL("select count(*), min({})::text from {} where tableoid = {}")

    def run(connection: psycopg.Connection[Any]) -> Finding:
        row = connection.execute(_DEFAULT_PARTITION, [f"{table}_default"]).fetchone()
        if row is None or row[1] == 0:
            return Finding(0, None)
        # It holds, or once held, rows. They are read through the parent: only the owner may read a partition.
        return _finding(
            connection, query.format(sql.Identifier(PARTITIONED[table]), sql.Identifier("raw", table), row[0])
        )

    return run


def _duplicated_identities(table: str) -> Callable[[psycopg.Connection[Any]], Finding]:
    query = sql.SQL(_DUPLICATES).format(table=sql.Identifier("raw", table), key=sql.Identifier(IDENTITIES[table]))
    return lambda connection: _finding(connection, query)


def _finding(connection: psycopg.Connection[Any], query: sql.Composed | sql.SQL) -> Finding:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 (an aggregate always returns a row)
    return Finding(*row)


CHECKS: tuple[RawCheck, ...] = (
    *(
        RawCheck(
            table,
            "has_no_row_outside_its_months",
            "The DEFAULT partition is empty: it would block the month its rows belong to.",
            _rows_outside_partitions(table),
        )
        for table in PARTITIONED
    ),
    *(
        RawCheck(
            table,
            "has_each_identity_once",
            f"No (project_id, {key}) stands twice under different times, on the days that changed.",
            _duplicated_identities(table),
        )
        for table, key in IDENTITIES.items()
    ),
    RawCheck(
        "command_executions",
        "has_the_tokens_of_its_requests",
        "Tokens of each execution equal the sum over the requests it owns, on the days that changed.",
        lambda connection: _finding(connection, sql.SQL(_TOKENS)),
    ),
    RawCheck(
        "optimization_runs",
        "has_the_statistics_of_its_iterations",
        "Counts, tokens, cost and best iteration of each run are those of its iterations, on the days that changed.",
        lambda connection: _finding(connection, sql.SQL(_STATISTICS)),
    ),
    RawCheck(
        "outcomes",
        "has_each_epoch_once",
        "No simulation has two outcomes of one scenario and epoch, on the days that changed.",
        lambda connection: _finding(connection, sql.SQL(_OUTCOMES)),
    ),
)
