-- One row per tool use; what is answered beats what is not yet.

insert into contested_tool_calls (place)
select place
from known_tool_calls
union all
select s.ctid as place
from staged_tool_calls as s
inner join (
    select
        project_id,
        tool_use_id
    from staged_tool_calls
    group by project_id, tool_use_id
    having count(*) > 1
) as repeated on s.project_id = repeated.project_id and s.tool_use_id = repeated.tool_use_id
where not exists(select from known_tool_calls as k where k.place = s.ctid);

insert into settled_tool_calls
with
stored as materialized (
    select distinct on (project_id, tool_use_id) *
    from known_tool_calls
    order by project_id, tool_use_id
),

sightings as materialized (
    select
        false as is_stored,
        o.*
    from contested_tool_calls as c
    inner join owned_tool_calls as o on c.place = o.place
    union all
    select
        true as is_stored,
        project_id,
        tool_use_id,
        timestamp,
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
        source_offset,
        ingested_at,
        null::tid as place
    from stored
),

winners as (
    select distinct on (project_id, tool_use_id) *
    from sightings
    order by
        project_id asc, tool_use_id asc, status <> 'unanswered' desc, source <> 'stream_json' desc,
        duration_ms asc nulls last, is_stored desc, place asc
),

identities as (
    select
        project_id,
        tool_use_id,
        coalesce(max(timestamp) filter (where is_stored), min(timestamp)) as timestamp,
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
        bool_and(is_owner_inferred) as is_owner_inferred,
        min(ingested_at) as ingested_at
    from sightings
    group by project_id, tool_use_id
),

merged as (
    select
        i.project_id,
        i.tool_use_id,
        i.timestamp,
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
        w.source_offset,
        i.ingested_at,
        w.place
    from identities as i
    inner join winners as w on i.project_id = w.project_id and i.tool_use_id = w.tool_use_id
)

select m.*
from merged as m
left join stored as r on m.project_id = r.project_id and m.tool_use_id = r.tool_use_id
where
    r.tool_use_id is null
    or (
        m.execution_id, m.is_owner_inferred, m.session_id, m.prompt_id, m.message_id, m.agent_id, m.spawned_agent_id,
        m.tool_name, m.duration_ms, m.status, m.error_message, m.source, m.source_file_key, m.source_offset
    ) is distinct from (
        r.execution_id, r.is_owner_inferred, r.session_id, r.prompt_id, r.message_id, r.agent_id, r.spawned_agent_id,
        r.tool_name, r.duration_ms, r.status, r.error_message, r.source, r.source_file_key, r.source_offset
    );

-- A changed row makes way for its new form.
with
changed as (
    delete from raw.tool_calls as r
    using settled_tool_calls as s
    where r.project_id = s.project_id and r.tool_use_id = s.tool_use_id and r.timestamp = s.timestamp
    returning r.project_id, r.execution_id, (r.timestamp at time zone 'UTC')::date as activity_date
),

touched as (
    insert into touched_work (project_id, execution_id, activity_date)
    select distinct
        project_id,
        execution_id,
        activity_date
    from changed
)

insert into merge_counts (table_name, outcome, row_count)
select
    'tool_calls',
    c.outcome,
    c.row_count
from (select count(*) as row_count from changed) as changed
cross join (
    select count(*) as row_count
    from (select distinct project_id, tool_use_id from known_tool_calls) as keys
) as known
cross join lateral (
    values ('updated', changed.row_count), ('unchanged', known.row_count - changed.row_count)
) as c (outcome, row_count);

with
written as (
    insert into raw.tool_calls (
        project_id, tool_use_id, timestamp, session_id, execution_id, is_owner_inferred, prompt_id, message_id,
        agent_id, spawned_agent_id, tool_name, duration_ms, status, error_message, source, source_file_key,
        source_offset, ingested_at
    )
    select
        project_id,
        tool_use_id,
        timestamp,
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
        source_offset,
        ingested_at
    from (
        select o.*
        from owned_tool_calls as o
        -- NOT IN hashes the few contested places; a join might hash all rows of the batch.
        where o.place not in (select c.place from contested_tool_calls as c)
        union all
        select *
        from settled_tool_calls
    ) as w
    returning project_id, execution_id, timestamp
),

touched as (
    insert into touched_work (project_id, execution_id, activity_date)
    select distinct
        project_id,
        execution_id,
        (timestamp at time zone 'UTC')::date
    from written
)

insert into merge_counts (table_name, outcome, row_count)
select
    'tool_calls',
    'inserted',
    count(*) - (
        select sum(row_count)
        from merge_counts
        where table_name = 'tool_calls' and outcome = 'updated'
    )
from written;
