-- Totals of the touched executions, from all responses and tool uses that they own now.

insert into execution_totals
with
by_model as (
    select
        r.project_id,
        r.execution_id,
        r.model,
        sum(r.input_tokens) as input_tokens,
        sum(r.cache_creation_5m_tokens) as cache_creation_5m_tokens,
        sum(r.cache_creation_1h_tokens) as cache_creation_1h_tokens,
        sum(r.cache_read_tokens) as cache_read_tokens,
        sum(r.output_tokens) as output_tokens,
        sum(r.cost_usd) as cost_usd,
        sum(r.cache_read_cost_usd) as cache_read_cost_usd,
        sum(r.cache_savings_usd) as cache_savings_usd,
        count(*) filter (where r.kind = 'response') as request_count,
        count(*) filter (where r.kind <> 'synthetic') as priceable_count,
        count(*) filter (where r.kind <> 'synthetic' and r.cost_status = 'unpriced') as unpriced_count,
        count(*) filter (where r.cost_status = 'reported') as reported_count,
        bool_and(r.is_output_reliable) as is_output_reliable
    from touched_executions as t
    cross join lateral (
        select
            r.project_id,
            r.execution_id,
            r.model,
            r.input_tokens,
            r.cache_creation_5m_tokens,
            r.cache_creation_1h_tokens,
            r.cache_read_tokens,
            r.output_tokens,
            r.cost_usd,
            r.cache_read_cost_usd,
            r.cache_savings_usd,
            r.kind,
            r.cost_status,
            r.is_output_reliable
        from raw.model_requests as r
        where r.execution_id = any(t.execution_ids)
        offset 0
    ) as r
    where r.project_id = t.project_id
    group by r.execution_id, r.project_id, r.model
),

of_requests as (
    select
        project_id,
        execution_id,
        sum(input_tokens + cache_creation_5m_tokens + cache_creation_1h_tokens + cache_read_tokens) as input_tokens,
        sum(cache_creation_5m_tokens) as cache_creation_5m_tokens,
        sum(cache_creation_1h_tokens) as cache_creation_1h_tokens,
        sum(cache_read_tokens) as cached_tokens,
        sum(output_tokens) as output_tokens,
        sum(cost_usd) as cost_usd,
        sum(cache_read_cost_usd) as cache_read_cost_usd,
        sum(cache_savings_usd) as cache_savings_usd,
        sum(request_count) as request_count,
        sum(priceable_count) as priceable_count,
        sum(unpriced_count) as unpriced_count,
        sum(reported_count) as reported_count,
        bool_and(is_output_reliable) as is_output_reliable,
        (array_agg(model order by output_tokens desc, model) filter (where priceable_count > 0))[1] as model_version
    from by_model
    group by execution_id, project_id
),

of_tool_calls as (
    select
        r.project_id,
        r.execution_id,
        count(*) as tool_calls,
        count(*) filter (where r.status in ('error', 'rejected')) as tool_errors
    from touched_executions as t
    cross join lateral (
        select
            r.project_id,
            r.execution_id,
            r.status
        from raw.tool_calls as r
        where r.execution_id = any(t.execution_ids)
        offset 0
    ) as r
    where r.project_id = t.project_id
    group by r.execution_id, r.project_id
)

select
    t.project_id,
    t.execution_id,
    coalesce(r.input_tokens, 0)::bigint as input_tokens,
    coalesce(r.cache_creation_5m_tokens, 0)::bigint as cache_creation_5m_tokens,
    coalesce(r.cache_creation_1h_tokens, 0)::bigint as cache_creation_1h_tokens,
    coalesce(r.cached_tokens, 0)::bigint as cached_tokens,
    coalesce(r.output_tokens, 0)::bigint as output_tokens,
    coalesce(r.cost_usd, 0) as cost_usd,
    coalesce(r.cache_read_cost_usd, 0) as cache_read_cost_usd,
    coalesce(r.cache_savings_usd, 0) as cache_savings_usd,
    coalesce(r.request_count, 0)::integer as request_count,
    coalesce(r.priceable_count, 0) as priceable_count,
    coalesce(r.unpriced_count, 0) as unpriced_count,
    coalesce(r.reported_count, 0) as reported_count,
    coalesce(r.is_output_reliable, true) as is_output_reliable,
    r.model_version,
    coalesce(c.tool_calls, 0)::integer as tool_calls,
    coalesce(c.tool_errors, 0)::integer as tool_errors
from (
    select
        project_id,
        unnest(execution_ids) as execution_id
    from touched_executions
) as t
left join of_requests as r on t.project_id = r.project_id and t.execution_id = r.execution_id
left join of_tool_calls as c on t.project_id = c.project_id and t.execution_id = c.execution_id;
