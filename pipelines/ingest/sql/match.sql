-- What the warehouse already knows of the staged records, and which execution each belongs to.
-- Ids of orphan executions begin with eight zeros.

create temporary table matched_requests on commit drop as
select
    s.*,
    s.ctid as place,
    case s.source when 'stream_json' then 1 else 2 end as source_rank,
    k.request_key,
    (known.stored).timestamp as stored_timestamp,
    (known.stored).execution_id as stored_execution_id,
    known.stored,
    known.stored is null and count(*) over (partition by s.project_id, k.request_key) = 1 as is_alone
from staged_requests as s
-- Some formats leave the request's id out: the message's id alone then decides.
left join lateral (
    select r as stored
    from raw.model_requests as r
    where
        r.project_id = s.project_id
        and r.request_key >= s.message_id || ':'
        and r.request_key < s.message_id || ';'
        and r.message_id = s.message_id
        and (r.request_id = s.request_id or r.request_id is null or s.request_id is null)
    order by r.request_id = s.request_id desc nulls last
    limit 1
) as known on true
cross join lateral (
    select coalesce((known.stored).request_key, s.message_id || ':' || coalesce(s.request_id, '')) as request_key
) as k;

create temporary table matched_tool_calls on commit drop as
select
    s.*,
    s.ctid as place,
    case s.source when 'stream_json' then 1 else 2 end as source_rank,
    (known.stored).timestamp as stored_timestamp,
    (known.stored).execution_id as stored_execution_id,
    known.stored,
    known.stored is null and count(*) over (partition by s.project_id, s.tool_use_id) = 1 as is_alone
from staged_tool_calls as s
left join lateral (
    select r as stored
    from raw.tool_calls as r
    where r.project_id = s.project_id and r.tool_use_id = s.tool_use_id
    limit 1
) as known on true;

create temporary table execution_targets on commit drop as
with
seen as (
    select distinct on (project_id, id)
        project_id,
        id,
        timestamp,
        kind,
        command_raw,
        session_id,
        exists(
            select from staged_requests as r
            where r.project_id = s.project_id and r.execution_id = s.id
        ) as has_requests
    from staged_executions as s
    order by project_id, id, ended_at desc
),

-- A headless run and its transcript are one execution: they share message ids …
shared as (
    select distinct on (m.project_id, m.execution_id)
        m.project_id,
        m.execution_id,
        e.id as owner_id
    from (
        select
            project_id,
            execution_id,
            stored_execution_id,
            count(*) as shared_count
        from matched_requests
        where stored_execution_id <> execution_id and stored_execution_id >= '00000001-0000-0000-0000-000000000000'
        group by project_id, execution_id, stored_execution_id
    ) as m
    inner join seen as c on m.project_id = c.project_id and m.execution_id = c.id
    inner join raw.command_executions as e on m.project_id = e.project_id and m.stored_execution_id = e.id
    where c.kind = 'run' or e.kind = 'run'
    order by m.project_id, m.execution_id, m.shared_count desc, e.id
),

-- … or, where nothing was answered, the session: the nearest in time, one to one.
unanswered as (
    select
        project_id,
        id,
        owner_id
    from (
        select
            c.project_id,
            c.id,
            e.id as owner_id,
            row_number() over (
                partition by c.project_id, c.id order by abs(extract(epoch from e.timestamp - c.timestamp)), e.id
            ) as owner_rank,
            row_number() over (
                partition by c.project_id, e.id order by abs(extract(epoch from e.timestamp - c.timestamp)), c.id
            ) as id_rank
        from seen as c
        inner join raw.command_executions as e
            on c.project_id = e.project_id and c.session_id = e.session_id and c.id <> e.id
        where
            not c.has_requests
            and e.request_count = 0
            and (
                (c.kind = 'run' and e.kind in ('prompt', 'slash') and not 'stream_json' = any(e.sources))
                or (c.kind in ('prompt', 'slash') and e.kind = 'run')
            )
    ) as pairs
    where owner_rank = 1 and id_rank = 1
)

select
    c.project_id,
    c.id,
    coalesce(
        alias.execution_id,
        known.id,
        shared.owner_id,
        twin.id,
        unanswered.owner_id,
        -- A copied session may carry new ids: same moment, same words, same execution.
        case
            when c.kind in ('run', 'orphan') then c.id
            else first_value(c.id) over (
                partition by c.project_id, c.timestamp, c.kind, c.command_raw order by c.id
            )
        end
    ) as target_id
from seen as c
left join ops.execution_aliases as alias on c.project_id = alias.project_id and c.id = alias.alias_id
left join lateral (
    select e.id
    from raw.command_executions as e
    where e.project_id = c.project_id and e.id = c.id
    limit 1
) as known on true
left join shared on c.project_id = shared.project_id and c.id = shared.execution_id
left join lateral (
    select e.id
    from raw.command_executions as e
    where
        e.project_id = c.project_id
        and e.timestamp = c.timestamp
        and e.kind = c.kind
        and e.command_raw = c.command_raw
        and c.kind not in ('run', 'orphan')
    order by e.id
    limit 1
) as twin on true
left join unanswered on c.project_id = unanswered.project_id and c.id = unanswered.id;

-- Joins of tables without statistics may be planned as a loop over all pairs.
analyze execution_targets (project_id, id), matched_requests (project_id), matched_tool_calls (project_id);

insert into ops.execution_aliases (project_id, alias_id, execution_id)
select
    project_id,
    id,
    target_id
from execution_targets
where id <> target_id
on conflict do nothing;
