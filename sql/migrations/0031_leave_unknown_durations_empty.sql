-- An execution that nobody answered, or whose command is in no log, has no second moment to measure its duration by:
-- 0 ms said that it was instant, and counted in every median.
set local lock_timeout = '5s';
set local role tracemill_owner;

-- Every writer names the column.
-- squawk-ignore ban-drop-default
alter table raw.command_executions alter column execution_time_ms drop default;
-- squawk-ignore ban-drop-not-null
alter table raw.command_executions alter column execution_time_ms drop not null;
comment on column raw.command_executions.execution_time_ms is 'Wall time in milliseconds, waiting for permission included; NULL without an answer.';

with
cleared as (
    update raw.command_executions set execution_time_ms = null
    where execution_time_ms = 0 and (ended_at = timestamp or kind = 'orphan')
    returning project_id, timestamp
)

insert into ops.touched_days (project_id, activity_date)
select distinct
    project_id,
    (timestamp at time zone 'UTC')::date
from cleared
on conflict (activity_date, project_id) do update set touched_at = clock_timestamp();

reset role;
