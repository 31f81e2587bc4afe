-- The execution behind work whose own log does not name it (subagents in files of their own): by prompt id, by the
-- tool use that started the subagent, else the last command of the session before it. Work already stored is
-- looked at again when its session is touched, because the parent's log may arrive later.

create temporary table touched_sessions on commit drop as
select
    project_id,
    session_id
from staged_executions
union
select
    project_id,
    session_id
from staged_requests
union
select
    project_id,
    session_id
from staged_tool_calls;

create temporary table owners on commit drop as
with
unowned as (
    select
        s.project_id,
        s.session_id,
        s.agent_id,
        s.prompt_id,
        s.timestamp,
        s.orphan_id as fallback_id
    from (
        select
            project_id,
            session_id,
            agent_id,
            prompt_id,
            timestamp,
            orphan_id,
            execution_id
        from staged_requests
        union all
        select
            project_id,
            session_id,
            agent_id,
            prompt_id,
            timestamp,
            orphan_id,
            execution_id
        from staged_tool_calls
    ) as s
    left join execution_targets as t on s.project_id = t.project_id and s.execution_id = t.id
    where t.id is null
    union all
    select
        r.project_id,
        r.session_id,
        r.agent_id,
        r.prompt_id,
        r.timestamp,
        r.execution_id
    from touched_sessions as s
    inner join raw.model_requests as r on s.project_id = r.project_id and s.session_id = r.session_id
    where r.is_owner_inferred
    union all
    select
        r.project_id,
        r.session_id,
        r.agent_id,
        r.prompt_id,
        r.timestamp,
        r.execution_id
    from touched_sessions as s
    inner join raw.tool_calls as r on s.project_id = r.project_id and s.session_id = r.session_id
    where r.is_owner_inferred
),

workers as (
    select
        project_id,
        session_id,
        agent_id,
        prompt_id,
        -- Without an agent there is no common origin: each moment is looked at by itself.
        concat_ws('|', session_id, coalesce(agent_id, timestamp::text), prompt_id) as worker_key,
        min(timestamp) as first_at,
        -- An orphan's id, which begins with zeros, is the last resort only.
        max(fallback_id::text)::uuid as fallback_id
    from unowned
    group by project_id, session_id, agent_id, prompt_id, worker_key
),

executions as (
    select
        t.project_id,
        t.target_id as id,
        s.session_id,
        s.timestamp
    from staged_executions as s
    inner join execution_targets as t on s.project_id = t.project_id and s.id = t.id
    where s.kind <> 'orphan'
    union
    select
        e.project_id,
        e.id,
        e.session_id,
        e.timestamp
    from touched_sessions as s
    inner join raw.command_executions as e on s.project_id = e.project_id and s.session_id = e.session_id
    where e.kind <> 'orphan'
),

by_prompt as (
    select
        w.project_id,
        w.worker_key,
        min(coalesce(t.target_id, a.execution_id, e.id)::text)::uuid as execution_id
    from workers as w
    left join execution_targets as t on w.project_id = t.project_id and w.prompt_id = t.id
    left join ops.execution_aliases as a on w.project_id = a.project_id and w.prompt_id = a.alias_id
    left join raw.command_executions as e on w.project_id = e.project_id and w.prompt_id = e.id
    where w.prompt_id is not null
    group by w.project_id, w.worker_key
),

by_start as (
    select
        w.project_id,
        w.worker_key,
        min(coalesce(t.target_id, r.execution_id)::text)::uuid as execution_id
    from workers as w
    left join staged_tool_calls as s on w.project_id = s.project_id and w.agent_id = s.spawned_agent_id
    left join execution_targets as t on s.project_id = t.project_id and s.execution_id = t.id
    left join raw.tool_calls as r on w.project_id = r.project_id and w.agent_id = r.spawned_agent_id
    where w.agent_id is not null
    group by w.project_id, w.worker_key
),

by_time as (
    select distinct on (w.project_id, w.worker_key)
        w.project_id,
        w.worker_key,
        e.id as execution_id
    from workers as w
    inner join executions as e on w.project_id = e.project_id and w.session_id = e.session_id
    order by
        w.project_id asc, w.worker_key asc, e.timestamp <= w.first_at desc,
        abs(extract(epoch from e.timestamp - w.first_at)) asc, e.id asc
)

select
    w.project_id,
    w.worker_key,
    coalesce(by_prompt.execution_id, by_start.execution_id, by_time.execution_id, w.fallback_id) as execution_id
from workers as w
left join by_prompt on w.project_id = by_prompt.project_id and w.worker_key = by_prompt.worker_key
left join by_start on w.project_id = by_start.project_id and w.worker_key = by_start.worker_key
left join by_time on w.project_id = by_time.project_id and w.worker_key = by_time.worker_key;

analyze owners (project_id, worker_key);

create temporary table touched_executions (
    project_id text not null,
    execution_id uuid not null
) on commit drop;

create temporary table changed_days (
    project_id text not null,
    activity_date date not null
) on commit drop;

insert into touched_executions (project_id, execution_id)
select
    project_id,
    target_id
from execution_targets;

-- Stored work whose owner has become known, or better known.
create temporary table moves on commit drop as
select
    r.tableoid as partition_id,
    r.ctid as row_id,
    r.project_id,
    r.timestamp,
    r.execution_id as old_execution_id,
    o.execution_id as new_execution_id
from touched_sessions as s
inner join raw.model_requests as r on s.project_id = r.project_id and s.session_id = r.session_id
inner join owners as o
    on r.project_id = o.project_id and concat_ws('|', r.session_id, coalesce(r.agent_id, r.timestamp::text), r.prompt_id) = o.worker_key
where r.is_owner_inferred and r.execution_id <> o.execution_id
union all
select
    r.tableoid as partition_id,
    r.ctid as row_id,
    r.project_id,
    r.timestamp,
    r.execution_id as old_execution_id,
    o.execution_id as new_execution_id
from touched_sessions as s
inner join raw.tool_calls as r on s.project_id = r.project_id and s.session_id = r.session_id
inner join owners as o
    on r.project_id = o.project_id and concat_ws('|', r.session_id, coalesce(r.agent_id, r.timestamp::text), r.prompt_id) = o.worker_key
where r.is_owner_inferred and r.execution_id <> o.execution_id;

update raw.model_requests as r
set execution_id = m.new_execution_id, updated_at = now()
from moves as m
where r.tableoid = m.partition_id and r.ctid = m.row_id;

update raw.tool_calls as r
set execution_id = m.new_execution_id, updated_at = now()
from moves as m
where r.tableoid = m.partition_id and r.ctid = m.row_id;

insert into touched_executions (project_id, execution_id)
select
    project_id,
    old_execution_id
from moves
union
select
    project_id,
    new_execution_id
from moves;

insert into changed_days (project_id, activity_date)
select distinct
    project_id,
    (timestamp at time zone 'UTC')::date
from moves;
