with source as (

    select * from {{ source('raw', 'command_executions') }}

),

renamed as (

    select
        -- ids
        project_id,
        id as execution_id,
        session_id,
        {{ pattern_id('project_id', 'pattern_signature') }} as pattern_id,
        {{ workspace_id('project_id', "coalesce(workspace_context ->> 'cwd', '(none)')") }} as workspace_id,

        -- text
        kind,
        coalesce(command_base, '(' || kind || ')') as command_base,
        pattern_signature,
        command_features,
        coalesce(workspace_context ->> 'cwd', '(none)') as workspace_path,
        workspace_context ->> 'git_branch' as git_branch,
        to_jsonb(sources) as source_formats,
        status,
        status_reason,
        model_version,
        cost_status,
        reported_usage,

        -- numbers
        request_count,
        tool_calls as tool_call_count,
        tool_errors as tool_error_count,
        total_tokens,
        input_tokens,
        output_tokens,
        cached_tokens,
        fresh_tokens,
        cache_creation_tokens,
        cache_creation_5m_tokens,
        cache_creation_1h_tokens,
        cost_usd,
        fresh_cost_usd,
        cache_savings_usd,
        execution_time_ms,

        -- booleans
        kind = 'orphan' as is_orphan,
        cost_status = 'unpriced' and total_tokens > 0 as is_unpriced,
        total_tokens > 0 and (cost_status in ('partial', 'unpriced') or not is_output_reliable) as is_cost_lower_bound,

        -- times
        timestamp as started_at,
        ended_at,
        (timestamp at time zone 'UTC')::date as activity_date,
        ingested_at,
        updated_at
    from source

)

select * from renamed
