-- One row per tool use; what is answered beats what is not yet.

create temporary table merged_tool_calls on commit drop as
with
candidates as (
    select
        m.project_id,
        m.tool_use_id,
        m.stored_timestamp,
        false as is_stored,
        m.is_alone,
        m.place,
        m.source_rank,
        m.timestamp,
        m.session_id,
        coalesce(t.target_id, o.execution_id, m.orphan_id) as execution_id,
        t.target_id is null as is_owner_inferred,
        m.prompt_id,
        m.message_id,
        m.agent_id,
        m.spawned_agent_id,
        m.tool_name,
        m.duration_ms,
        m.status,
        m.error_message,
        m.source,
        m.source_file_key,
        m.source_offset
    from matched_tool_calls as m
    left join execution_targets as t on m.project_id = t.project_id and m.execution_id = t.id
    left join owners as o
        on
            t.id is null
            and m.project_id = o.project_id
            and concat_ws('|', m.session_id, coalesce(m.agent_id, m.timestamp::text), m.prompt_id) = o.worker_key
),

contested as (
    select *
    from candidates
    where not is_alone
    union all
    select
        r.project_id,
        r.tool_use_id,
        r.timestamp as stored_timestamp,
        true as is_stored,
        false as is_alone,
        null::tid as place,
        case r.source when 'stream_json' then 1 else 2 end as source_rank,
        r.timestamp,
        r.session_id,
        r.execution_id,
        r.is_owner_inferred,
        r.prompt_id,
        r.message_id,
        r.agent_id,
        r.spawned_agent_id,
        r.tool_name,
        r.duration_ms,
        r.status,
        r.error_message,
        r.source,
        r.source_file_key,
        r.source_offset
    from (
        select distinct on (project_id, tool_use_id) (stored).*
        from matched_tool_calls
        where stored_timestamp is not null
        order by project_id, tool_use_id
    ) as r
),

winners as (
    select distinct on (project_id, tool_use_id) *
    from contested
    order by
        project_id asc, tool_use_id asc, status <> 'unanswered' desc, source_rank desc, duration_ms asc nulls last,
        is_stored desc, place asc
),

identities as (
    select
        project_id,
        tool_use_id,
        coalesce(max(stored_timestamp), min(timestamp)) as timestamp,
        max(stored_timestamp) is not null as is_known,
        min(session_id) as session_id,
        max(agent_id) as agent_id,
        max(spawned_agent_id) as spawned_agent_id,
        max(message_id) as message_id,
        max(prompt_id::text)::uuid as prompt_id,
        (array_agg(
            execution_id
            order by
                execution_id < '00000001-0000-0000-0000-000000000000', is_owner_inferred,
                not is_stored, place
        ))[1] as execution_id,
        bool_and(is_owner_inferred) as is_owner_inferred
    from contested
    group by project_id, tool_use_id
)

select
    i.project_id,
    i.tool_use_id,
    i.timestamp,
    i.is_known,
    i.session_id,
    i.execution_id,
    i.is_owner_inferred,
    i.prompt_id,
    i.message_id,
    i.agent_id,
    i.spawned_agent_id,
    w.tool_name,
    w.duration_ms,
    w.status,
    w.error_message,
    w.source,
    w.source_file_key,
    w.source_offset
from identities as i
inner join winners as w on i.project_id = w.project_id and i.tool_use_id = w.tool_use_id
union all
select
    project_id,
    tool_use_id,
    timestamp,
    false as is_known,
    session_id,
    execution_id,
    is_owner_inferred,
    prompt_id,
    message_id,
    agent_id,
    spawned_agent_id,
    tool_name,
    duration_ms,
    status,
    error_message,
    source,
    source_file_key,
    source_offset
from candidates
where is_alone;

create temporary table changed_tool_calls on commit drop as
select
    m.project_id,
    m.tool_use_id,
    m.timestamp,
    m.execution_id,
    r.execution_id as old_execution_id,
    r.ingested_at
from merged_tool_calls as m
inner join (
    select distinct on (project_id, tool_use_id) (stored).*
    from matched_tool_calls
    where stored_timestamp is not null
    order by project_id, tool_use_id
) as r on m.project_id = r.project_id and m.tool_use_id = r.tool_use_id
where
    m.is_known
    and (
        m.execution_id, m.is_owner_inferred, m.session_id, m.prompt_id, m.message_id, m.agent_id, m.spawned_agent_id,
        m.tool_name, m.duration_ms, m.status, m.error_message, m.source, m.source_file_key, m.source_offset
    ) is distinct from (
        r.execution_id, r.is_owner_inferred, r.session_id, r.prompt_id, r.message_id, r.agent_id, r.spawned_agent_id,
        r.tool_name, r.duration_ms, r.status, r.error_message, r.source, r.source_file_key, r.source_offset
    );

delete from raw.tool_calls as r
using changed_tool_calls as c
where r.project_id = c.project_id and r.tool_use_id = c.tool_use_id and r.timestamp = c.timestamp;

insert into raw.tool_calls (
    project_id, tool_use_id, timestamp, session_id, execution_id, is_owner_inferred, prompt_id, message_id, agent_id,
    spawned_agent_id, tool_name, duration_ms, status, error_message, source, source_file_key, source_offset, ingested_at
)
select
    m.project_id,
    m.tool_use_id,
    m.timestamp,
    m.session_id,
    m.execution_id,
    m.is_owner_inferred,
    m.prompt_id,
    m.message_id,
    m.agent_id,
    m.spawned_agent_id,
    m.tool_name,
    m.duration_ms,
    m.status,
    m.error_message,
    m.source,
    m.source_file_key,
    m.source_offset,
    coalesce(c.ingested_at, now())
from merged_tool_calls as m
left join changed_tool_calls as c on m.project_id = c.project_id and m.tool_use_id = c.tool_use_id
where not m.is_known or c.tool_use_id is not null;

insert into touched_executions (project_id, execution_id)
select
    project_id,
    execution_id
from merged_tool_calls
where not is_known
union
select
    project_id,
    execution_id
from changed_tool_calls
union
select
    project_id,
    old_execution_id
from changed_tool_calls;

insert into changed_days (project_id, activity_date)
select distinct
    project_id,
    (timestamp at time zone 'UTC')::date
from merged_tool_calls
where not is_known
union
select
    project_id,
    (timestamp at time zone 'UTC')::date
from changed_tool_calls;

insert into merge_counts (table_name, outcome, row_count)
select
    'tool_calls',
    'inserted',
    count(*)
from merged_tool_calls
where not is_known
union all
select
    'tool_calls',
    'updated',
    count(*)
from changed_tool_calls
union all
select
    'tool_calls',
    'unchanged',
    (
        select count(*)
        from merged_tool_calls
        where is_known
    ) - (
        select count(*)
        from changed_tool_calls
    );
