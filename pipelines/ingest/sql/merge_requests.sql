-- One row per API response. Of all lines seen, in whatever file, the one with the largest output holds the usage.

create temporary table merged_requests on commit drop as
with
candidates as (
    select
        m.project_id,
        m.request_key,
        m.stored_timestamp,
        false as is_stored,
        m.is_alone,
        m.place,
        m.source_rank,
        m.timestamp,
        m.kind,
        m.message_id,
        m.request_id,
        m.session_id,
        coalesce(t.target_id, o.execution_id, m.orphan_id) as execution_id,
        t.target_id is null as is_owner_inferred,
        m.prompt_id,
        m.agent_id,
        m.model,
        m.service_tier,
        m.speed,
        m.stop_reason,
        m.input_tokens,
        m.cache_creation_5m_tokens,
        m.cache_creation_1h_tokens,
        m.cache_read_tokens,
        m.output_tokens,
        m.web_search_requests,
        m.reported_cost_usd,
        m.is_output_reliable,
        m.line_count,
        m.source,
        m.source_file_key,
        m.source_offset
    from matched_requests as m
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
        r.request_key,
        r.timestamp as stored_timestamp,
        true as is_stored,
        false as is_alone,
        null::tid as place,
        case r.source when 'stream_json' then 1 else 2 end as source_rank,
        r.timestamp,
        r.kind,
        r.message_id,
        r.request_id,
        r.session_id,
        r.execution_id,
        r.is_owner_inferred,
        r.prompt_id,
        r.agent_id,
        r.model,
        r.service_tier,
        r.speed,
        r.stop_reason,
        r.input_tokens,
        r.cache_creation_5m_tokens,
        r.cache_creation_1h_tokens,
        r.cache_read_tokens,
        r.output_tokens,
        r.web_search_requests,
        r.reported_cost_usd,
        r.is_output_reliable,
        r.line_count,
        r.source,
        r.source_file_key,
        r.source_offset
    from (
        select distinct on (project_id, request_key) (stored).*
        from matched_requests
        where stored_timestamp is not null
        order by project_id, request_key
    ) as r
),

winners as (
    select distinct on (project_id, request_key) *
    from contested
    order by
        project_id asc, request_key asc, output_tokens desc, source_rank desc, line_count desc,
        is_stored desc, place asc
),

identities as (
    select
        project_id,
        request_key,
        coalesce(max(stored_timestamp), min(timestamp)) as timestamp,
        max(stored_timestamp) is not null as is_known,
        max(request_id) as request_id,
        min(session_id) as session_id,
        max(agent_id) as agent_id,
        max(prompt_id::text)::uuid as prompt_id,
        max(reported_cost_usd) as reported_cost_usd,
        -- What the log states beats what was inferred, anything beats an orphan, first seen beats later.
        (array_agg(
            execution_id
            order by
                execution_id < '00000001-0000-0000-0000-000000000000', is_owner_inferred,
                not is_stored, place
        ))[1] as execution_id,
        bool_and(is_owner_inferred) as is_owner_inferred
    from contested
    group by project_id, request_key
),

settled as (
    select
        i.project_id,
        i.request_key,
        i.timestamp,
        i.is_known,
        i.request_id,
        i.session_id,
        i.execution_id,
        i.is_owner_inferred,
        i.prompt_id,
        i.agent_id,
        i.reported_cost_usd,
        w.kind,
        w.message_id,
        w.model,
        w.service_tier,
        w.speed,
        w.stop_reason,
        w.input_tokens,
        w.cache_creation_5m_tokens,
        w.cache_creation_1h_tokens,
        w.cache_read_tokens,
        w.output_tokens,
        w.web_search_requests,
        w.is_output_reliable,
        w.line_count,
        w.source,
        w.source_file_key,
        w.source_offset
    from identities as i
    inner join winners as w on i.project_id = w.project_id and i.request_key = w.request_key
    union all
    select
        project_id,
        request_key,
        timestamp,
        false as is_known,
        request_id,
        session_id,
        execution_id,
        is_owner_inferred,
        prompt_id,
        agent_id,
        reported_cost_usd,
        kind,
        message_id,
        model,
        service_tier,
        speed,
        stop_reason,
        input_tokens,
        cache_creation_5m_tokens,
        cache_creation_1h_tokens,
        cache_read_tokens,
        output_tokens,
        web_search_requests,
        is_output_reliable,
        line_count,
        source,
        source_file_key,
        source_offset
    from candidates
    where is_alone
)

select
    w.project_id,
    w.request_key,
    w.timestamp,
    w.is_known,
    w.kind,
    w.message_id,
    w.request_id,
    w.session_id,
    w.execution_id,
    w.is_owner_inferred,
    w.prompt_id,
    w.agent_id,
    w.model,
    w.service_tier,
    w.speed,
    w.stop_reason,
    w.input_tokens,
    w.cache_creation_5m_tokens + w.cache_creation_1h_tokens as cache_creation_tokens,
    w.cache_creation_5m_tokens,
    w.cache_creation_1h_tokens,
    w.cache_read_tokens,
    w.output_tokens,
    w.web_search_requests,
    case when c.is_priced then c.input_cost_usd end as input_cost_usd,
    case when c.is_priced then c.cache_write_cost_usd end as cache_write_cost_usd,
    case when c.is_priced then c.cache_read_cost_usd end as cache_read_cost_usd,
    case when c.is_priced then c.output_cost_usd end as output_cost_usd,
    case when c.is_priced then c.tool_cost_usd end as tool_cost_usd,
    case
        when w.kind = 'synthetic' then 0
        when w.reported_cost_usd is not null then w.reported_cost_usd
        when c.is_priced
            then c.input_cost_usd + c.cache_write_cost_usd + c.cache_read_cost_usd + c.output_cost_usd + c.tool_cost_usd
    end as cost_usd,
    case when p.model is not null then c.cache_savings_usd end as cache_savings_usd,
    w.reported_cost_usd,
    case
        when w.kind = 'synthetic' then 'computed'
        when w.reported_cost_usd is not null then 'reported'
        when c.is_priced then 'computed'
        else 'unpriced'
    end as cost_status,
    case when c.is_priced then p.price_version end as price_version,
    w.is_output_reliable,
    w.line_count,
    w.source,
    w.source_file_key,
    w.source_offset
from settled as w
left join lateral (
    select p.*
    from app.model_prices as p
    where
        -- Fast mode and other tiers of service have prices of their own: without one the request is unpriced.
        p.model = w.model || case when coalesce(w.speed, '') in ('', 'standard') then '' else '#' || w.speed end
        and coalesce(w.service_tier, 'standard') in ('standard', 'default', 'auto', '')
        and w.kind = 'response'
        and w.timestamp >= p.valid_from
        and (p.valid_to is null or w.timestamp < p.valid_to)
        and (
            p.min_prompt_tokens = 0
            or w.input_tokens + w.cache_creation_5m_tokens + w.cache_creation_1h_tokens + w.cache_read_tokens
            > p.min_prompt_tokens
        )
    order by p.min_prompt_tokens desc
    limit 1
) as p on true
cross join lateral (
    select
        p.model is not null and w.reported_cost_usd is null as is_priced,
        w.input_tokens * p.input_usd_per_mtok * 0.000001 as input_cost_usd,
        (
            w.cache_creation_5m_tokens * p.cache_write_5m_usd_per_mtok
            + w.cache_creation_1h_tokens * p.cache_write_1h_usd_per_mtok
        ) * 0.000001 as cache_write_cost_usd,
        w.cache_read_tokens * p.cache_read_usd_per_mtok * 0.000001 as cache_read_cost_usd,
        w.output_tokens * p.output_usd_per_mtok * 0.000001 as output_cost_usd,
        w.web_search_requests * p.web_search_usd_per_request as tool_cost_usd,
        (
            w.cache_read_tokens * (p.input_usd_per_mtok - p.cache_read_usd_per_mtok)
            - w.cache_creation_5m_tokens * (p.cache_write_5m_usd_per_mtok - p.input_usd_per_mtok)
            - w.cache_creation_1h_tokens * (p.cache_write_1h_usd_per_mtok - p.input_usd_per_mtok)
        ) * 0.000001 as cache_savings_usd
) as c;

create temporary table changed_requests on commit drop as
select
    m.project_id,
    m.request_key,
    m.timestamp,
    m.execution_id,
    r.execution_id as old_execution_id,
    r.ingested_at
from merged_requests as m
inner join (
    select distinct on (project_id, request_key) (stored).*
    from matched_requests
    where stored_timestamp is not null
    order by project_id, request_key
) as r on m.project_id = r.project_id and m.request_key = r.request_key
where
    m.is_known
    and (
        m.execution_id, m.is_owner_inferred, m.request_id, m.session_id, m.prompt_id, m.agent_id, m.model, m.source,
        m.source_file_key, m.source_offset, m.input_tokens, m.cache_creation_5m_tokens, m.cache_creation_1h_tokens,
        m.cache_read_tokens, m.output_tokens, m.web_search_requests, m.stop_reason, m.reported_cost_usd,
        m.is_output_reliable, m.line_count
    ) is distinct from (
        r.execution_id, r.is_owner_inferred, r.request_id, r.session_id, r.prompt_id, r.agent_id, r.model, r.source,
        r.source_file_key, r.source_offset, r.input_tokens, r.cache_creation_5m_tokens, r.cache_creation_1h_tokens,
        r.cache_read_tokens, r.output_tokens, r.web_search_requests, r.stop_reason, r.reported_cost_usd,
        r.is_output_reliable, r.line_count
    );

delete from raw.model_requests as r
using changed_requests as c
where r.project_id = c.project_id and r.request_key = c.request_key and r.timestamp = c.timestamp;

insert into raw.model_requests (
    project_id, request_key, timestamp, kind, message_id, request_id, session_id, execution_id, is_owner_inferred,
    prompt_id, agent_id, model, service_tier, speed, stop_reason, input_tokens, cache_creation_tokens,
    cache_creation_5m_tokens, cache_creation_1h_tokens, cache_read_tokens, output_tokens, web_search_requests,
    input_cost_usd, cache_write_cost_usd, cache_read_cost_usd, output_cost_usd, tool_cost_usd, cost_usd,
    cache_savings_usd, reported_cost_usd, cost_status, price_version, is_output_reliable, line_count, source,
    source_file_key, source_offset, ingested_at
)
select
    m.project_id,
    m.request_key,
    m.timestamp,
    m.kind,
    m.message_id,
    m.request_id,
    m.session_id,
    m.execution_id,
    m.is_owner_inferred,
    m.prompt_id,
    m.agent_id,
    m.model,
    m.service_tier,
    m.speed,
    m.stop_reason,
    m.input_tokens,
    m.cache_creation_tokens,
    m.cache_creation_5m_tokens,
    m.cache_creation_1h_tokens,
    m.cache_read_tokens,
    m.output_tokens,
    m.web_search_requests,
    m.input_cost_usd,
    m.cache_write_cost_usd,
    m.cache_read_cost_usd,
    m.output_cost_usd,
    m.tool_cost_usd,
    m.cost_usd,
    m.cache_savings_usd,
    m.reported_cost_usd,
    m.cost_status,
    m.price_version,
    m.is_output_reliable,
    m.line_count,
    m.source,
    m.source_file_key,
    m.source_offset,
    coalesce(c.ingested_at, now())
from merged_requests as m
left join changed_requests as c on m.project_id = c.project_id and m.request_key = c.request_key
where not m.is_known or c.request_key is not null;

insert into touched_executions (project_id, execution_id)
select
    project_id,
    execution_id
from merged_requests
where not is_known
union
select
    project_id,
    execution_id
from changed_requests
union
select
    project_id,
    old_execution_id
from changed_requests;

insert into changed_days (project_id, activity_date)
select distinct
    project_id,
    (timestamp at time zone 'UTC')::date
from merged_requests
where not is_known
union
select
    project_id,
    (timestamp at time zone 'UTC')::date
from changed_requests;

insert into merge_counts (table_name, outcome, row_count)
select
    'model_requests',
    'inserted',
    count(*)
from merged_requests
where not is_known
union all
select
    'model_requests',
    'updated',
    count(*)
from changed_requests
union all
select
    'model_requests',
    'unchanged',
    (
        select count(*)
        from merged_requests
        where is_known
    ) - (
        select count(*)
        from changed_requests
    );
