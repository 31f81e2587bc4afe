{{ config(materialized='view') }}

-- Sums of the window are taken from its days each time: one row per pattern and day is little to add up.
with

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

pattern_days as (

    select * from {{ ref('int_pattern_days') }}

),

final as (

    select
        pattern_days.project_id,
        pattern_days.pattern_id,
        {{ sum_measures() }},
        sum(pattern_days.squared_tokens) as squared_tokens,
        sum(pattern_days.missed_cache_cost_usd) as missed_cache_cost_usd,
        sum(pattern_days.prompted_count)::bigint as prompted_count,
        sum(pattern_days.cold_start_count)::bigint as cold_start_count,
        sum(pattern_days.costed_count)::bigint as costed_count,
        count(*) as active_days
    from pattern_days
    where
        pattern_days.activity_date >= (select bounds.window_start from bounds)
        and pattern_days.activity_date <= (select bounds.window_end from bounds)
    group by pattern_days.project_id, pattern_days.pattern_id

)

select * from final
