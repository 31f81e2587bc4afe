-- A headless run without any message id (its result saved alone, a stream that has only begun, a run that nobody
-- answered) has but its session in common with the transcript or the stream of the same run. There it joins the
-- prompt, or the stream, that has no result yet, or this very result; one to one, the best pair first. A session that
-- was resumed has several of each: the moment tells them apart where files have kept their times, else the tokens.

create temporary table run_sights on commit drop as
with
fresh as materialized (
    select distinct on (s.project_id, s.id) s.*
    from staged_executions as s
    inner join execution_targets as x on s.project_id = x.project_id and s.id = x.id and s.id = x.target_id
    where x.is_new and s.kind in ('prompt', 'slash', 'run') and s.session_id is not null
    order by s.project_id asc, s.id asc, s.ended_at desc
),

answers as materialized (
    select
        r.project_id,
        r.execution_id,
        sum(
            r.input_tokens + r.cache_creation_5m_tokens + r.cache_creation_1h_tokens + r.cache_read_tokens
            + r.output_tokens
        ) as tokens
    from staged_requests as r
    group by r.project_id, r.execution_id
),

results as materialized (
    select
        x.project_id,
        x.target_id,
        min(s.reported_usage::text)::jsonb as reported_usage
    from staged_executions as s
    inner join execution_targets as x on s.project_id = x.project_id and s.id = x.id
    where s.reported_usage is not null
    group by x.project_id, x.target_id
)

select
    s.project_id,
    s.session_id,
    s.id,
    false as is_stored,
    s.kind = 'run' as is_run,
    a.execution_id is not null as is_answered,
    s.source = 'stream_json' as is_in_stream,
    s.workspace_context <> '{}' or s.session_context <> '{}' as has_beginning,
    s.status_reason not in ('no_result', 'no_end_in_sight') as has_result,
    -- An older result does not name its model.
    s.reported_usage #- '{0,model}' as usage,
    coalesce(u.tokens, a.tokens, 0) as tokens,
    s.timestamp,
    s.ended_at
from fresh as s
left join answers as a on s.project_id = a.project_id and s.id = a.execution_id
cross join lateral (
    select sum(u.input_tokens + u.cache_creation_tokens + u.cache_read_tokens + u.output_tokens) as tokens
    from jsonb_to_recordset(s.reported_usage) as u (
        input_tokens bigint, cache_creation_tokens bigint, cache_read_tokens bigint, output_tokens bigint
    )
) as u
union all
select
    e.project_id,
    e.session_id,
    e.id,
    true,
    e.kind = 'run',
    e.request_count > 0,
    'stream_json' = any(e.sources),
    e.workspace_context <> '{}' or e.session_context <> '{}',
    e.status_reason not in ('no_result', 'no_end_in_sight'),
    coalesce(r.reported_usage, e.reported_usage) #- '{0,model}',
    e.total_tokens,
    e.timestamp,
    e.ended_at
from (
    select
        project_id,
        array_agg(distinct session_id) as session_ids
    from fresh
    group by project_id
) as k
cross join lateral (
    select e.*
    from raw.command_executions as e
    where
        e.project_id = k.project_id
        and e.session_id = any(k.session_ids)
        and e.kind in ('prompt', 'slash', 'run')
    offset 0
) as e
left join results as r on e.project_id = r.project_id and e.id = r.target_id;

create temporary table run_pairs on commit drop as
select
    a.project_id,
    a.session_id,
    a.id as run_id,
    b.id as partner_id,
    case when a.is_stored and not b.is_stored then a.id else b.id end as owner_id,
    row_number() over (
        partition by a.project_id, a.session_id
        order by
            p.is_same desc, p.is_in_time desc,
            case when a.usage is null then 0 else abs(a.tokens - b.tokens) end,
            abs(extract(epoch from a.timestamp - b.timestamp)), a.id, b.id
    ) as place
from run_sights as a
inner join run_sights as b on a.project_id = b.project_id and a.session_id = b.session_id and a.id <> b.id
cross join lateral (
    -- Seconds pass between the start of the client and the prompt.
    select
        a.timestamp <= b.ended_at + interval '10 seconds'
        and b.timestamp <= a.ended_at + interval '10 seconds' as is_in_time
) as t
cross join lateral (
    -- Results of runs that used nothing are all alike.
    select
        t.is_in_time,
        (t.is_in_time or a.tokens > 0) and coalesce(a.usage = b.usage, false) as is_same
) as p
where
    a.is_run
    and not a.is_answered
    and not (a.is_stored and b.is_stored)
    and case
        when b.is_run
            then
                a.has_result
                and not a.has_beginning
                and (b.is_answered or b.has_beginning)
                and (p.is_same or (b.usage is null and (b.is_stored or p.is_in_time)))
        else
            p.is_same
            or not (b.is_answered or b.is_in_stream)
            or (b.usage is null and (a.has_result or (p.is_in_time and not b.is_in_stream)))
    end;

create index on run_pairs (project_id, session_id, place);

with recursive
taken as (
    select
        project_id,
        session_id,
        0::bigint as place,
        null::uuid as joining_id,
        null::uuid as owner_id,
        '{}'::uuid[] as taken_ids
    from run_pairs
    group by project_id, session_id
    union all
    select
        p.project_id,
        p.session_id,
        p.place,
        case when p.owner_id = p.run_id then p.partner_id else p.run_id end,
        p.owner_id,
        t.taken_ids || p.run_id || p.partner_id
    from taken as t
    cross join lateral (
        select p.*
        from run_pairs as p
        where
            p.project_id = t.project_id
            and p.session_id = t.session_id
            and p.place > t.place
            and p.run_id <> all(t.taken_ids)
            and p.partner_id <> all(t.taken_ids)
        order by p.place
        limit 1
    ) as p
)

update execution_targets as x
set target_id = t.owner_id
from taken as t
where x.project_id = t.project_id and x.target_id = t.joining_id;
