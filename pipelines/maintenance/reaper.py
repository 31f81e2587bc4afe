"""Ends what will never end by itself: prompts that nobody answered.

An execution stays pending while more of it may come. A day after its last sign of life nothing will, unless its
log says so later: ingest then takes the newer evidence. Closing is done in batches, each its own transaction, and
rows that ingest holds at this moment are left for the next time.
"""

from datetime import datetime, timedelta
from typing import Any

import psycopg

PATIENCE = timedelta(hours=24)
"""How long after its last sign of life an execution may still go on."""
_BATCH = 10_000

_CLOSE = """
with overdue as (
    select project_id, id, timestamp
    from raw.command_executions
    where status = 'pending'
        and timestamp < %(deadline)s
        and ended_at < %(deadline)s
    limit %(batch)s
    for update skip locked
),
closed as (
    update raw.command_executions as e
    set status = 'timeout', status_reason = 'no_end_in_sight', updated_at = now()
    from overdue as o
    where e.project_id = o.project_id and e.id = o.id and e.timestamp = o.timestamp
    returning e.project_id, (e.timestamp at time zone 'UTC')::date as activity_date
),
touched as (
    insert into ops.touched_days (project_id, activity_date)
    select project_id, activity_date from closed group by project_id, activity_date
    order by activity_date, project_id
    on conflict (activity_date, project_id) do update set touched_at = clock_timestamp()
)
select count(*) from closed
"""


def close_unanswered(connection: psycopg.Connection[Any], moment: datetime) -> int:
    """Executions closed as ``timeout`` because ``moment`` is more than PATIENCE after their last sign of life.

    The connection must act as tracemill_ingest.
    """
    closed = 0
    while True:
        with connection.transaction():
            row = connection.execute(_CLOSE, {"deadline": moment - PATIENCE, "batch": _BATCH}).fetchone()
        count = row[0] if row else 0
        closed += count
        if count < _BATCH:
            return closed
