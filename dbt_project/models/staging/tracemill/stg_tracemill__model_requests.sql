with source as (

    select * from {{ source('raw', 'model_requests') }}

),

renamed as (

    select
        -- ids
        project_id,
        request_key,
        session_id,
        execution_id,
        agent_id,

        -- text
        kind,
        model,
        stop_reason,
        cost_status,
        price_version,
        source as source_format,

        -- numbers
        input_tokens as uncached_input_tokens,
        cache_creation_tokens,
        cache_creation_5m_tokens,
        cache_creation_1h_tokens,
        cache_read_tokens,
        output_tokens,
        input_tokens + cache_creation_tokens + cache_read_tokens as input_tokens,
        input_tokens + cache_creation_tokens + cache_read_tokens + output_tokens as total_tokens,
        input_cost_usd,
        cache_write_cost_usd,
        cache_read_cost_usd,
        output_cost_usd,
        tool_cost_usd,
        cost_usd,
        cache_savings_usd,

        -- booleans
        agent_id is not null as is_subagent,
        cost_status in ('partial', 'unpriced') or not is_output_reliable as is_cost_lower_bound,

        -- times
        timestamp as requested_at,
        (timestamp at time zone 'UTC')::date as activity_date,
        ingested_at,
        updated_at
    from source
    -- What the client wrote in the name of a model has no tokens and no price.
    where kind <> 'synthetic'

)

select * from renamed
