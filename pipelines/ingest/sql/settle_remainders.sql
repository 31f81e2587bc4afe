-- A headless run ends with its own sum per model, background calls included. What that sum holds beyond the responses
-- in the logs is one more row per model, so that tokens and cost add up to what the client reported; the row shrinks as
-- more responses arrive from other files.

create temporary table reported_usages on commit drop as
select
    e.project_id,
    e.execution_id,
    e.timestamp,
    e.session_id,
    e.source_file_key,
    u.model,
    coalesce(u.input_tokens, 0) as input_tokens,
    coalesce(u.cache_creation_tokens, 0) as cache_creation_tokens,
    coalesce(u.cache_read_tokens, 0) as cache_read_tokens,
    coalesce(u.output_tokens, 0) as output_tokens,
    coalesce(u.web_search_requests, 0) as web_search_requests,
    round(u.cost_usd, 12) as cost_usd
from (
    select distinct on (project_id, execution_id) *
    from (
        select
            project_id,
            id as execution_id,
            timestamp,
            session_id,
            source_file_key,
            reported_usage,
            true as is_stored
        from known_executions
        union all
        -- An execution keeps the moment at which it was first seen, whichever source that was.
        select
            x.project_id,
            x.target_id as execution_id,
            coalesce(k.timestamp, min(s.timestamp) over (partition by x.project_id, x.target_id)) as timestamp,
            s.session_id,
            s.source_file_key,
            s.reported_usage,
            false as is_stored
        from staged_executions as s
        inner join execution_targets as x on s.project_id = x.project_id and s.id = x.id
        left join known_executions as k on x.project_id = k.project_id and x.target_id = k.id
    ) as sights
    where reported_usage is not null
    order by project_id, execution_id, is_stored desc
) as e
cross join lateral jsonb_to_recordset(e.reported_usage) as u (
    model text,
    input_tokens bigint,
    cache_creation_tokens bigint,
    cache_read_tokens bigint,
    output_tokens bigint,
    web_search_requests bigint,
    cost_usd numeric
);

create temporary table reported_requests on commit drop as
select r.*
from (
    select array_agg(distinct execution_id) as execution_ids
    from reported_usages
) as u
cross join lateral (
    select
        r.tableoid as partition_id,
        r.ctid as row_id,
        r.project_id,
        r.request_key,
        r.timestamp,
        r.kind,
        r.execution_id,
        r.model,
        r.input_tokens,
        r.cache_creation_tokens,
        r.cache_read_tokens,
        r.output_tokens,
        r.web_search_requests,
        r.cost_usd,
        r.cost_status
    from raw.model_requests as r
    where r.execution_id = any(u.execution_ids)
    offset 0
) as r;

-- An older result does not name its model; it sums up the responses of the main one.
update reported_usages as u
set model = m.model
from (
    select distinct on (project_id, execution_id)
        project_id,
        execution_id,
        model
    from reported_requests
    where kind = 'response'
    group by project_id, execution_id, model
    order by project_id asc, execution_id asc, sum(output_tokens) desc, model asc
) as m
where u.model = 'unknown' and u.project_id = m.project_id and u.execution_id = m.execution_id;

-- Responses without a price of their own are covered by the run's reported cost.
update raw.model_requests as r
set cost_status = 'reported', updated_at = now()
from reported_requests as q
inner join reported_usages as u
    on q.project_id = u.project_id and q.execution_id = u.execution_id and q.model = u.model
where
    u.cost_usd is not null
    and q.kind = 'response'
    and q.cost_status = 'unpriced'
    and r.tableoid = q.partition_id
    and r.ctid = q.row_id;

create temporary table remainders on commit drop as
select
    u.project_id,
    'remainder:' || u.execution_id || ':' || u.model as request_key,
    u.timestamp,
    u.session_id,
    u.source_file_key,
    u.execution_id,
    u.model,
    greatest(u.input_tokens - coalesce(r.input_tokens, 0), 0) as input_tokens,
    greatest(u.cache_creation_tokens - coalesce(r.cache_creation_tokens, 0), 0) as cache_creation_tokens,
    greatest(u.cache_read_tokens - coalesce(r.cache_read_tokens, 0), 0) as cache_read_tokens,
    greatest(u.output_tokens - coalesce(r.output_tokens, 0), 0) as output_tokens,
    greatest(u.web_search_requests - coalesce(r.web_search_requests, 0), 0) as web_search_requests,
    u.cost_usd - coalesce(r.cost_usd, 0) as cost_usd
from reported_usages as u
left join (
    select
        project_id,
        execution_id,
        model,
        sum(input_tokens)::bigint as input_tokens,
        sum(cache_creation_tokens)::bigint as cache_creation_tokens,
        sum(cache_read_tokens)::bigint as cache_read_tokens,
        sum(output_tokens)::bigint as output_tokens,
        sum(web_search_requests)::bigint as web_search_requests,
        sum(cost_usd) as cost_usd
    from reported_requests
    where kind = 'response'
    group by project_id, execution_id, model
) as r on u.project_id = r.project_id and u.execution_id = r.execution_id and u.model = r.model;

delete from remainders
where
    input_tokens = 0
    and cache_creation_tokens = 0
    and cache_read_tokens = 0
    and output_tokens = 0
    and web_search_requests = 0
    and coalesce(abs(cost_usd), 0) < 1e-9;

create temporary table stale_remainders on commit drop as
select
    r.partition_id,
    r.row_id,
    r.project_id,
    r.execution_id,
    r.timestamp
from reported_requests as r
left join remainders as m
    on r.project_id = m.project_id and r.request_key = m.request_key and r.timestamp = m.timestamp
where
    r.kind = 'remainder'
    and (
        r.input_tokens, r.cache_creation_tokens, r.cache_read_tokens, r.output_tokens, r.web_search_requests,
        r.cost_usd
    ) is distinct from (
        m.input_tokens, m.cache_creation_tokens, m.cache_read_tokens, m.output_tokens, m.web_search_requests,
        m.cost_usd
    );

delete from raw.model_requests as r
using stale_remainders as s
where r.tableoid = s.partition_id and r.ctid = s.row_id;

with
inserted as (
    insert into raw.model_requests (
        project_id, request_key, timestamp, kind, message_id, session_id, execution_id, model, input_tokens,
        cache_creation_tokens, cache_creation_5m_tokens, cache_read_tokens, output_tokens, web_search_requests, cost_usd,
        reported_cost_usd, cost_status, source, source_file_key, source_offset
    )
    select
        m.project_id,
        m.request_key,
        m.timestamp,
        'remainder',
        m.execution_id::text,
        m.session_id,
        m.execution_id,
        m.model,
        m.input_tokens,
        m.cache_creation_tokens,
        m.cache_creation_tokens,
        m.cache_read_tokens,
        m.output_tokens,
        m.web_search_requests,
        m.cost_usd,
        m.cost_usd,
        case when m.cost_usd is null then 'unpriced' else 'reported' end,
        'stream_json',
        m.source_file_key,
        0
    from remainders as m
    on conflict do nothing
    returning project_id, execution_id, timestamp
)

insert into touched_work (project_id, execution_id, activity_date)
select
    project_id,
    execution_id,
    (timestamp at time zone 'UTC')::date
from inserted
union
select
    project_id,
    execution_id,
    (timestamp at time zone 'UTC')::date
from stale_remainders;
