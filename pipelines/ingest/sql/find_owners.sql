-- The execution behind work whose own log does not name it (subagents in files of their own): by prompt id, by the
-- tool use that started the subagent, else the last command of the session before it. Work already stored is
-- looked at again when its session is touched, because the parent's log may arrive later.

insert into owners (table_id, row_id, is_stored, old_execution_id, execution_id)
with
touched_sessions as materialized (
    select
        project_id,
        array_agg(distinct session_id) as session_ids
    from (
        select
            project_id,
            session_id
        from staged_executions
        group by project_id, session_id
        union all
        select
            project_id,
            session_id
        from staged_requests
        group by project_id, session_id
        union all
        select
            project_id,
            session_id
        from staged_tool_calls
        group by project_id, session_id
    ) as touched
    where session_id is not null
    group by project_id
),

-- Without an agent there is no common origin: each moment is looked at by itself.
unowned as materialized (
    select
        *,
        concat_ws('|', session_id, coalesce(agent_id, timestamp::text), prompt_id) as worker_key
    from (
        select
            tableoid as table_id,
            ctid as row_id,
            project_id,
            session_id,
            agent_id,
            prompt_id,
            timestamp,
            orphan_id as execution_id,
            false as is_stored
        from staged_requests
        where execution_id is null
        union all
        select
            tableoid as table_id,
            ctid as row_id,
            project_id,
            session_id,
            agent_id,
            prompt_id,
            timestamp,
            orphan_id as execution_id,
            false as is_stored
        from staged_tool_calls
        where execution_id is null
        union all
        select r.*
        from touched_sessions as s
        cross join lateral (
            select
                r.tableoid as table_id,
                r.ctid as row_id,
                r.project_id,
                r.session_id,
                r.agent_id,
                r.prompt_id,
                r.timestamp,
                r.execution_id,
                true as is_stored
            from raw.model_requests as r
            where r.project_id = s.project_id and r.session_id = any(s.session_ids) and r.is_owner_inferred
            offset 0
        ) as r
        union all
        select r.*
        from touched_sessions as s
        cross join lateral (
            select
                r.tableoid as table_id,
                r.ctid as row_id,
                r.project_id,
                r.session_id,
                r.agent_id,
                r.prompt_id,
                r.timestamp,
                r.execution_id,
                true as is_stored
            from raw.tool_calls as r
            where r.project_id = s.project_id and r.session_id = any(s.session_ids) and r.is_owner_inferred
            offset 0
        ) as r
    ) as work
),

workers as materialized (
    select
        project_id,
        worker_key,
        min(session_id) as session_id,
        min(agent_id) as agent_id,
        min(prompt_id::text)::uuid as prompt_id,
        min(timestamp) as first_at,
        -- An orphan's id, which begins with zeros, is the last resort only.
        max(execution_id::text)::uuid as fallback_id
    from unowned
    group by project_id, worker_key
),

executions as materialized (
    select
        t.project_id,
        t.target_id as id,
        s.session_id,
        s.timestamp
    from staged_executions as s
    inner join execution_targets as t on s.project_id = t.project_id and s.id = t.id
    where s.kind <> 'orphan'
    union
    select e.*
    from (
        select
            project_id,
            array_agg(distinct session_id) as session_ids
        from workers
        group by project_id
    ) as w
    cross join lateral (
        select
            e.project_id,
            e.id,
            e.session_id,
            e.timestamp
        from raw.command_executions as e
        where e.project_id = w.project_id and e.session_id = any(w.session_ids) and e.kind <> 'orphan'
        offset 0
    ) as e
),

-- A tool use whose result comes commands later is stored with its own command, which the batch may not hold again.
spawners as (
    select
        s.project_id,
        s.spawned_agent_id,
        min(coalesce(t.target_id, k.execution_id)::text)::uuid as execution_id
    from staged_tool_calls as s
    left join execution_targets as t on s.project_id = t.project_id and s.execution_id = t.id
    left join known_tool_calls as k on s.ctid = k.place and not k.is_owner_inferred
    where s.spawned_agent_id is not null
    group by s.project_id, s.spawned_agent_id
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
),

found as materialized (
    select
        w.project_id,
        w.worker_key,
        coalesce(
            t.target_id, a.execution_id, e.execution_id,
            s.execution_id, r.execution_id,
            by_time.execution_id, w.fallback_id
        ) as execution_id
    from workers as w
    left join execution_targets as t on w.project_id = t.project_id and w.prompt_id = t.id
    left join lateral (
        select a.execution_id
        from ops.execution_aliases as a
        where a.project_id = w.project_id and a.alias_id = w.prompt_id
        limit 1
    ) as a on true
    left join lateral (
        select e.id as execution_id
        from raw.command_executions as e
        where e.project_id = w.project_id and e.id = w.prompt_id
        limit 1
    ) as e on true
    left join spawners as s on w.project_id = s.project_id and w.agent_id = s.spawned_agent_id
    left join lateral (
        select min(r.execution_id::text)::uuid as execution_id
        from raw.tool_calls as r
        where r.project_id = w.project_id and r.spawned_agent_id = w.agent_id
    ) as r on true
    left join by_time on w.project_id = by_time.project_id and w.worker_key = by_time.worker_key
)

select
    u.table_id,
    u.row_id,
    u.is_stored,
    u.execution_id as old_execution_id,
    f.execution_id
from unowned as u
inner join found as f on u.project_id = f.project_id and u.worker_key = f.worker_key;

-- Stored work whose owner has become known, or better known.
with
moved_requests as (
    update raw.model_requests as r
    set execution_id = o.execution_id, updated_at = now()
    from owners as o
    where
        o.is_stored
        and o.old_execution_id <> o.execution_id
        and r.tableoid = o.table_id
        and r.ctid = o.row_id
    returning r.project_id, r.request_key as key, r.timestamp, o.old_execution_id, o.execution_id
),

moved_tool_calls as (
    update raw.tool_calls as r
    set execution_id = o.execution_id, updated_at = now()
    from owners as o
    where
        o.is_stored
        and o.old_execution_id <> o.execution_id
        and r.tableoid = o.table_id
        and r.ctid = o.row_id
    returning r.project_id, r.tool_use_id as key, r.timestamp, o.old_execution_id, o.execution_id
),

known_requests_moved as (
    update known_requests as k
    set execution_id = m.execution_id
    from moved_requests as m
    where k.project_id = m.project_id and k.request_key = m.key
),

known_tool_calls_moved as (
    update known_tool_calls as k
    set execution_id = m.execution_id
    from moved_tool_calls as m
    where k.project_id = m.project_id and k.tool_use_id = m.key
)

insert into touched_work (project_id, execution_id, activity_date)
select distinct
    m.project_id,
    e.execution_id,
    (m.timestamp at time zone 'UTC')::date
from (
    select *
    from moved_requests
    union all
    select *
    from moved_tool_calls
) as m
cross join lateral (values (m.old_execution_id), (m.execution_id)) as e (execution_id);
