{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

executions as (

    select * from {{ ref('stg_tracemill__command_executions') }}
    where {{ in_scope('started_at') }}

),

final as (

    select
        project_id,
        pattern_id,
        activity_date,
        status,
        status_reason,
        count(*) as execution_count,
        sum(total_tokens)::bigint as wasted_tokens,
        sum(cost_usd) as wasted_cost_usd,
        sum(execution_time_ms)::bigint as wasted_ms,
        max(ended_at) as last_seen_at
    from executions
    where status in ('failed', 'timeout', 'cancelled')
    group by project_id, pattern_id, activity_date, status, status_reason

)

select * from final
