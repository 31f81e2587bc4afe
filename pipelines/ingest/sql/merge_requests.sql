-- One row per API response. Of all lines seen, in whatever file, the one with the largest output holds the usage.

insert into contested_requests (project_id, request_key, place)
with
-- Some writers leave the request's id out: such a row is the first of its message that has one.
complete as (
    select
        s.project_id,
        s.message_id,
        min(s.request_key) as request_key
    from staged_requests as s
    where
        s.request_id is not null
        and (s.project_id, s.message_id) in (
            select
                i.project_id,
                i.message_id
            from staged_requests as i
            where i.request_id is null
        )
    group by s.project_id, s.message_id
),

fresh as materialized (
    select
        s.project_id,
        coalesce(c.request_key, s.request_key) as request_key,
        s.ctid as place
    from staged_requests as s
    left join complete as c
        on s.project_id = c.project_id and s.message_id = c.message_id and s.request_id is null
    where not exists(select from known_requests as k where k.place = s.ctid)
)

select
    project_id,
    request_key,
    place
from known_requests
union all
select
    f.project_id,
    f.request_key,
    f.place
from fresh as f
inner join (
    select
        project_id,
        request_key
    from fresh
    group by project_id, request_key
    having count(*) > 1
) as repeated on f.project_id = repeated.project_id and f.request_key = repeated.request_key;

insert into settled_requests
with
stored as materialized (
    select distinct on (project_id, request_key) *
    from known_requests
    order by project_id, request_key
),

sightings as materialized (
    select
        c.request_key as shared_key,
        false as is_stored,
        o.*
    from contested_requests as c
    inner join owned_requests as o on c.place = o.place
    union all
    select
        request_key as shared_key,
        true as is_stored,
        project_id,
        request_key,
        timestamp,
        kind,
        message_id,
        request_id,
        session_id,
        execution_id,
        is_owner_inferred,
        prompt_id,
        agent_id,
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
        reported_cost_usd,
        is_output_reliable,
        line_count,
        source,
        source_file_key,
        source_offset,
        ingested_at,
        null::tid as place
    from stored
),

winners as (
    select distinct on (project_id, shared_key) *
    from sightings
    order by
        project_id asc, shared_key asc, output_tokens desc, source <> 'stream_json' desc, line_count desc,
        is_stored desc, place asc
),

identities as (
    select
        project_id,
        shared_key,
        coalesce(max(timestamp) filter (where is_stored), min(timestamp)) as timestamp,
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
        bool_and(is_owner_inferred) as is_owner_inferred,
        min(ingested_at) as ingested_at
    from sightings
    group by project_id, shared_key
),

merged as (
    select
        i.project_id,
        i.shared_key as request_key,
        i.timestamp,
        w.kind,
        w.message_id,
        i.request_id,
        i.session_id,
        i.execution_id,
        i.is_owner_inferred,
        i.prompt_id,
        i.agent_id,
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
        i.reported_cost_usd,
        w.is_output_reliable,
        w.line_count,
        w.source,
        w.source_file_key,
        w.source_offset,
        i.ingested_at,
        w.place
    from identities as i
    inner join winners as w on i.project_id = w.project_id and i.shared_key = w.shared_key
)

select m.*
from merged as m
left join stored as r on m.project_id = r.project_id and m.request_key = r.request_key
where
    r.request_key is null
    or (
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

-- A changed row makes way for its new form, which is priced anew.
with
changed as (
    delete from raw.model_requests as r
    using settled_requests as s
    where r.project_id = s.project_id and r.request_key = s.request_key and r.timestamp = s.timestamp
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
    'model_requests',
    c.outcome,
    c.row_count
from (select count(*) as row_count from changed) as changed
cross join (
    select count(*) as row_count
    from (select distinct project_id, request_key from known_requests) as keys
) as known
cross join lateral (
    values ('updated', changed.row_count), ('unchanged', known.row_count - changed.row_count)
) as c (outcome, row_count);

with
prices as (
    select
        model,
        valid_from,
        coalesce(valid_to, 'infinity') as valid_to,
        nullif(min_prompt_tokens, 0) as above_tokens,
        lead(min_prompt_tokens) over (partition by model, valid_from order by min_prompt_tokens) as up_to_tokens,
        input_usd_per_mtok * 0.000001 as input_usd,
        cache_write_5m_usd_per_mtok * 0.000001 as cache_write_5m_usd,
        cache_write_1h_usd_per_mtok * 0.000001 as cache_write_1h_usd,
        cache_read_usd_per_mtok * 0.000001 as cache_read_usd,
        output_usd_per_mtok * 0.000001 as output_usd,
        web_search_usd_per_request as web_search_usd,
        price_version
    from app.model_prices
),

priced as (
    select
        w.*,
        w.input_tokens * p.input_usd as input_cost_usd,
        w.cache_creation_5m_tokens * p.cache_write_5m_usd
        + w.cache_creation_1h_tokens * p.cache_write_1h_usd as cache_write_cost_usd,
        w.cache_read_tokens * p.cache_read_usd as cache_read_cost_usd,
        w.output_tokens * p.output_usd as output_cost_usd,
        w.web_search_requests * p.web_search_usd as tool_cost_usd,
        w.cache_read_tokens * (p.input_usd - p.cache_read_usd)
        - w.cache_creation_5m_tokens * (p.cache_write_5m_usd - p.input_usd)
        - w.cache_creation_1h_tokens * (p.cache_write_1h_usd - p.input_usd) as cache_savings_usd,
        p.price_version,
        p.model is not null and w.reported_cost_usd is null as is_priced
    from (
        select o.*
        from owned_requests as o
        -- NOT IN hashes the few contested places; a join might hash all rows of the batch.
        where o.place not in (select c.place from contested_requests as c)
        union all
        select *
        from settled_requests
    ) as w
    left join prices as p
        on
            -- Fast mode and other tiers of service have prices of their own: without one the request is unpriced.
            p.model = w.model || case when coalesce(w.speed, '') in ('', 'standard') then '' else '#' || w.speed end
            and coalesce(w.service_tier, 'standard') in ('standard', 'default', 'auto', '')
            and w.kind = 'response'
            and w.timestamp >= p.valid_from
            and w.timestamp < p.valid_to
            and (
                p.above_tokens is null
                or w.input_tokens + w.cache_creation_5m_tokens + w.cache_creation_1h_tokens + w.cache_read_tokens
                > p.above_tokens
            )
            and (
                p.up_to_tokens is null
                or w.input_tokens + w.cache_creation_5m_tokens + w.cache_creation_1h_tokens + w.cache_read_tokens
                <= p.up_to_tokens
            )
    -- Each cost is computed once, though it is used twice.
    offset 0
),

written as (
    insert into raw.model_requests (
        project_id, request_key, timestamp, kind, message_id, request_id, session_id, execution_id, is_owner_inferred,
        prompt_id, agent_id, model, service_tier, speed, stop_reason, input_tokens, cache_creation_tokens,
        cache_creation_5m_tokens, cache_creation_1h_tokens, cache_read_tokens, output_tokens, web_search_requests,
        input_cost_usd, cache_write_cost_usd, cache_read_cost_usd, output_cost_usd, tool_cost_usd, cost_usd,
        cache_savings_usd, reported_cost_usd, cost_status, price_version, is_output_reliable, line_count, source,
        source_file_key, source_offset, ingested_at
    )
    select
        project_id,
        request_key,
        timestamp,
        kind,
        message_id,
        request_id,
        session_id,
        execution_id,
        is_owner_inferred,
        prompt_id,
        agent_id,
        model,
        service_tier,
        speed,
        stop_reason,
        input_tokens,
        cache_creation_5m_tokens + cache_creation_1h_tokens,
        cache_creation_5m_tokens,
        cache_creation_1h_tokens,
        cache_read_tokens,
        output_tokens,
        web_search_requests,
        case when is_priced then input_cost_usd end,
        case when is_priced then cache_write_cost_usd end,
        case when is_priced then cache_read_cost_usd end,
        case when is_priced then output_cost_usd end,
        case when is_priced then tool_cost_usd end,
        case
            when kind = 'synthetic' then 0
            when reported_cost_usd is not null then reported_cost_usd
            when is_priced
                then input_cost_usd + cache_write_cost_usd + cache_read_cost_usd + output_cost_usd + tool_cost_usd
        end,
        cache_savings_usd,
        reported_cost_usd,
        case
            when kind = 'synthetic' then 'computed'
            when reported_cost_usd is not null then 'reported'
            when is_priced then 'computed'
            else 'unpriced'
        end,
        case when is_priced then price_version end,
        is_output_reliable,
        line_count,
        source,
        source_file_key,
        source_offset,
        ingested_at
    from priced
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
    'model_requests',
    'inserted',
    count(*) - (
        select sum(row_count)
        from merge_counts
        where table_name = 'model_requests' and outcome = 'updated'
    )
from written;
