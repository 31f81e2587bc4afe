-- What the warehouse already knows of the staged records, and which execution each belongs to.
-- Ids of orphan executions begin with eight zeros.
--
-- Each look-up asks every partition once, with all keys of the batch in order, so that one pass over the index serves
-- them all. OFFSET 0 keeps the planner from turning such a look-up into a join that reads the whole table; and a
-- batch is small beside the tables it meets, whatever statistics of young partitions say.
set local enable_seqscan = off;
set local enable_mergejoin = off;

insert into known_requests
with
keys as materialized (
    select
        project_id,
        array_agg(request_key) as request_keys,
        array_agg(message_id) as message_ids
    from (
        select
            project_id,
            request_key,
            message_id
        from staged_requests
        where request_id is not null
        order by request_key
    ) as sorted
    group by project_id
)

select distinct on (place) *
from (
    select
        r.*,
        s.ctid as place
    from keys as k
    cross join lateral (
        select r.*
        from raw.model_requests as r
        where r.project_id = k.project_id and r.request_key = any(k.request_keys)
        union all
        -- Some formats leave the request's id out: what was seen in one of them first keeps the key without it.
        select r.*
        from raw.model_requests as r
        where
            r.project_id = k.project_id
            and r.message_id = any(k.message_ids)
            and r.request_key = r.message_id || ':'
        offset 0
    ) as r
    inner join staged_requests as s on r.project_id = s.project_id and r.message_id = s.message_id
    where
        s.request_id is not null
        and (r.request_key = s.request_key or coalesce(r.request_id, s.request_id) = s.request_id)
    union all
    select
        r.*,
        s.ctid as place
    from staged_requests as s
    cross join lateral (
        select r.*
        from raw.model_requests as r
        where
            r.project_id = s.project_id
            and r.request_key >= s.message_id || ':'
            and r.request_key < s.message_id || ';'
            and r.message_id = s.message_id
        order by r.request_key
        limit 1
    ) as r
    where s.request_id is null
) as sightings
order by place, request_key desc;

-- What is stored without its request's id is one request only: of those that could be it, the first is.
delete from known_requests as k
using (
    select
        k.place,
        rank() over (partition by k.project_id, k.request_key order by s.request_id) as place_in_line
    from known_requests as k
    inner join staged_requests as s on k.place = s.ctid
    where k.request_id is null and s.request_id is not null
) as candidates
where k.place = candidates.place and candidates.place_in_line > 1;

insert into known_tool_calls
select
    r.*,
    s.ctid as place
from (
    select
        project_id,
        array_agg(tool_use_id) as tool_use_ids
    from (
        select
            project_id,
            tool_use_id
        from staged_tool_calls
        order by tool_use_id
    ) as sorted
    group by project_id
) as k
cross join lateral (
    select r.*
    from raw.tool_calls as r
    where r.project_id = k.project_id and r.tool_use_id = any(k.tool_use_ids)
    offset 0
) as r
inner join staged_tool_calls as s on r.project_id = s.project_id and r.tool_use_id = s.tool_use_id;

insert into execution_targets
with
seen as materialized (
    select distinct on (project_id, id)
        project_id,
        id,
        timestamp,
        kind,
        command_raw
    from staged_executions as s
    order by project_id, id, ended_at desc
),

keys as materialized (
    select
        project_id,
        array_agg(id order by id) as ids,
        array_agg(timestamp order by timestamp) as timestamps
    from seen
    group by project_id
),

aliases as (
    select a.*
    from keys as k
    cross join lateral (
        select a.*
        from ops.execution_aliases as a
        where a.project_id = k.project_id and a.alias_id = any(k.ids)
        offset 0
    ) as a
),

known as (
    select e.*
    from keys as k
    cross join lateral (
        select
            e.project_id,
            e.id
        from raw.command_executions as e
        where e.project_id = k.project_id and e.id = any(k.ids)
        offset 0
    ) as e
),

-- A headless run and its transcript are one execution: they share message ids. For runs without any, see match_runs.sql.
shared as (
    select distinct on (m.project_id, m.execution_id)
        m.project_id,
        m.execution_id,
        e.id as owner_id
    from (
        select
            s.project_id,
            s.execution_id,
            k.execution_id as stored_execution_id,
            count(*) as shared_count
        from known_requests as k
        inner join staged_requests as s on k.place = s.ctid
        where k.execution_id <> s.execution_id and k.execution_id >= '00000001-0000-0000-0000-000000000000'
        group by s.project_id, s.execution_id, k.execution_id
    ) as m
    inner join seen as c on m.project_id = c.project_id and m.execution_id = c.id
    cross join lateral (
        select
            e.id,
            e.kind
        from raw.command_executions as e
        where e.project_id = m.project_id and e.id = m.stored_execution_id
        limit 1
    ) as e
    where c.kind = 'run' or e.kind = 'run'
    order by m.project_id, m.execution_id, m.shared_count desc, e.id
),

-- A copied session may carry new ids: same moment, same words, same execution.
twins as (
    select
        e.project_id,
        e.timestamp,
        e.kind,
        e.command_raw,
        min(e.id::text)::uuid as id
    from keys as k
    cross join lateral (
        select
            e.project_id,
            e.id,
            e.timestamp,
            e.kind,
            e.command_raw
        from raw.command_executions as e
        where e.project_id = k.project_id and e.timestamp = any(k.timestamps) and e.kind not in ('run', 'orphan')
        offset 0
    ) as e
    group by e.project_id, e.timestamp, e.kind, e.command_raw
)

select
    c.project_id,
    c.id,
    coalesce(
        alias.execution_id,
        known.id,
        shared.owner_id,
        twins.id,
        case
            when c.kind in ('run', 'orphan') then c.id
            else first_value(c.id) over (
                partition by c.project_id, c.timestamp, c.kind, c.command_raw order by c.id
            )
        end
    ) as target_id,
    coalesce(alias.execution_id, known.id, shared.owner_id, twins.id) is null as is_new
from seen as c
left join aliases as alias on c.project_id = alias.project_id and c.id = alias.alias_id
left join known on c.project_id = known.project_id and c.id = known.id
left join shared on c.project_id = shared.project_id and c.id = shared.execution_id
left join twins
    on
        c.project_id = twins.project_id
        and c.timestamp = twins.timestamp
        and c.kind = twins.kind
        and c.command_raw = twins.command_raw;
