"""Dagster's own storage kept small: it has no retention for events, and each night adds thousands.

Events of runs that ended long ago go. What says that a partition is there stays: the last materialization (and
observation) of each asset and partition, the last evaluation of each check, and every run that one of them names.
This works on the tables of dagster 1.13; ``tests`` hold it against Dagster's own answers.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

KEEP = timedelta(days=30)
"""Events of a run stay this long after its end."""

_BATCH = 5_000
_MOST_ROWS = 1_000_000

# Dagster writes times without a zone, in UTC.
_OLD_RUNS = """
with
old_runs as (
    select run_id from runs
    where status in ('SUCCESS', 'FAILURE', 'CANCELED')
        and coalesce(to_timestamp(end_time) at time zone 'UTC', update_timestamp) < %(before)s
),
kept_events as (
    select max(id) as id from event_logs
    where dagster_event_type in ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION')
    group by asset_key, partition, dagster_event_type
),
kept_checks as (
    select max(id) as id from asset_check_executions
    where execution_status in ('SUCCEEDED', 'FAILED')
    group by asset_key, check_name, partition
)
"""

_EVENTS = """
from event_logs as e
where (e.run_id in (select run_id from old_runs) or (
        e.timestamp < %(before)s and not exists (select from runs as r where r.run_id = e.run_id)
    ))
    and e.id not in (select id from kept_events)
"""
_CHECKS = """
from asset_check_executions as e
where e.create_timestamp < %(before)s and e.id not in (select id from kept_checks)
"""
_RUNS = """
from runs as e
where e.run_id in (select run_id from old_runs)
    and not exists (select from event_logs as l where l.run_id = e.run_id)
    and not exists (select from asset_check_executions as c where c.run_id = e.run_id)
"""
_TAGS = """
from asset_event_tags as e
where e.event_timestamp < %(before)s and not exists (select from event_logs as l where l.id = e.event_id)
"""
_KINDS = {"events": ("event_logs", _EVENTS), "check_evaluations": ("asset_check_executions", _CHECKS),
          "event_tags": ("asset_event_tags", _TAGS), "runs": ("runs", _RUNS)}  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Rows by kind."""

    events: int
    check_evaluations: int
    event_tags: int
    runs: int


def plan(connection: psycopg.Connection[Any], moment: datetime) -> Counts:
    """What could go at ``moment``; of runs and tags, what nothing keeps already. Changes nothing."""
    if not _is_used(connection):
        return Counts(0, 0, 0, 0)
    found = {}
    for kind, (_, condition) in _KINDS.items():
        row = connection.execute(f"{_OLD_RUNS} select count(*) {condition}", _before(moment)).fetchone()
        found[kind] = int(row[0]) if row else 0
    return Counts(**found)


def apply(connection: psycopg.Connection[Any], moment: datetime, *, most_rows: int = _MOST_ROWS) -> Counts:
    """Delete what ``plan`` counts, of each kind at most ``most_rows``; what is left is for the next run.

    ``connection`` is one to Dagster's database, in autocommit mode: each batch is a transaction of its own.
    """
    if not _is_used(connection):
        return Counts(0, 0, 0, 0)
    done = {kind: _delete(connection, *what, moment, most_rows) for kind, what in _KINDS.items()}
    return Counts(**done)


def _delete(connection: psycopg.Connection[Any], table: str, condition: str, moment: datetime, most_rows: int) -> int:
    # Looked for once, not for each batch: what has to stay is found by reading all there is.
    connection.execute("drop table if exists pg_temp.going")
    connection.execute(
        f"create temporary table going as {_OLD_RUNS} select e.id {condition} limit {most_rows:d}", _before(moment)
    )
    connection.execute("create index on pg_temp.going (id)")
    deleted = 0
    while count := connection.execute(
        f"with batch as (delete from pg_temp.going where id in (select id from pg_temp.going limit {_BATCH}) "  # noqa: S608
        f"returning id), gone as (delete from {table} as d using batch where d.id = batch.id) "
        "select from batch"
    ).rowcount:
        deleted += count
    return deleted


def _before(moment: datetime) -> dict[str, datetime]:
    return {"before": (moment - KEEP).replace(tzinfo=None)}


def _is_used(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(
        "select to_regclass('event_logs') is not null and to_regclass('runs') is not null"
    ).fetchone()
    return bool(row and row[0])
