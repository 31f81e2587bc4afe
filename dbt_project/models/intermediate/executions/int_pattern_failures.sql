{{ config(materialized='view') }}

with

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

failure_days as (

    select * from {{ ref('int_pattern_failure_days') }}

),

final as (

    select
        project_id,
        pattern_id,
        status,
        status_reason,
        sum(execution_count)::bigint as execution_count,
        sum(wasted_tokens)::bigint as wasted_tokens,
        sum(wasted_cost_usd) as wasted_cost_usd,
        sum(wasted_ms)::bigint as wasted_ms,
        max(last_seen_at) as last_seen_at
    from failure_days
    where
        activity_date >= (select bounds.window_start from bounds)
        and activity_date <= (select bounds.window_end from bounds)
    group by project_id, pattern_id, status, status_reason

)

select * from final
