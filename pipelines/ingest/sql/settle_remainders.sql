-- A headless run ends with its own sum per model, background calls included. What that sum holds beyond the responses
-- in the logs is one more row per model, so that tokens and cost add up to what the client reported; the row shrinks as
-- more responses arrive from other files.

-- Responses without a price of their own are covered by the run's reported cost.
update raw.model_requests as r
set cost_status = 'reported', updated_at = now()
from reported_usages as u
where
    r.project_id = u.project_id
    and r.execution_id = u.execution_id
    and r.model = u.model
    and u.cost_usd is not null
    and r.kind = 'response'
    and r.cost_status = 'unpriced';

create temporary table remainders on commit drop as
select
    u.project_id,
    'remainder:' || u.execution_id || ':' || u.model as request_key,
    u.timestamp,
    u.session_id,
    u.source_file_key,
    u.execution_id,
    u.model,
    greatest(u.input_tokens - r.input_tokens, 0) as input_tokens,
    greatest(u.cache_creation_tokens - r.cache_creation_tokens, 0) as cache_creation_tokens,
    greatest(u.cache_read_tokens - r.cache_read_tokens, 0) as cache_read_tokens,
    greatest(u.output_tokens - r.output_tokens, 0) as output_tokens,
    greatest(u.web_search_requests - r.web_search_requests, 0) as web_search_requests,
    u.cost_usd - r.cost_usd as cost_usd
from reported_usages as u
cross join lateral (
    select
        coalesce(sum(r.input_tokens), 0)::bigint as input_tokens,
        coalesce(sum(r.cache_creation_tokens), 0)::bigint as cache_creation_tokens,
        coalesce(sum(r.cache_read_tokens), 0)::bigint as cache_read_tokens,
        coalesce(sum(r.output_tokens), 0)::bigint as output_tokens,
        coalesce(sum(r.web_search_requests), 0)::bigint as web_search_requests,
        coalesce(sum(r.cost_usd), 0) as cost_usd
    from raw.model_requests as r
    where
        r.project_id = u.project_id and r.execution_id = u.execution_id and r.model = u.model and r.kind = 'response'
) as r;

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
    r.tableoid as partition_id,
    r.ctid as row_id,
    r.project_id,
    r.execution_id,
    r.timestamp
from (
    select distinct
        project_id,
        execution_id
    from reported_usages
) as u
inner join raw.model_requests as r
    on u.project_id = r.project_id and u.execution_id = r.execution_id and r.kind = 'remainder'
left join remainders as m
    on r.project_id = m.project_id and r.request_key = m.request_key and r.timestamp = m.timestamp
where
    (
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
