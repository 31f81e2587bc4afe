{{ config(materialized='view') }}

with

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

gap_days as (

    select * from {{ ref('int_pattern_gap_days') }}

),

final as (

    select
        project_id,
        pattern_id,
        sum(gap_count)::bigint as gap_count,
        sum(gaps_within_5m)::bigint as gaps_within_5m,
        sum(gaps_within_1h)::bigint as gaps_within_1h,
        sum(gaps_beyond_1h)::bigint as gaps_beyond_1h,
        sum(outlived_count)::bigint as outlived_count,
        sum(rewritten_tokens)::bigint as rewritten_tokens,
        sum(rewritten_cost_usd) as rewritten_cost_usd
    from gap_days
    where
        activity_date >= (select bounds.window_start from bounds)
        and activity_date <= (select bounds.window_end from bounds)
    group by project_id, pattern_id

)

select * from final
