{{ config(materialized='view') }}

-- Threshold rules. A saving is what the rule could bring at most, over the window, and is NULL where nothing is to
-- be saved; where costs are lower bounds, so is the saving.
with

patterns as (

    select * from {{ ref('int_pattern_statistics') }}

),

low_cache as (

    select
        project_id,
        pattern_id,
        'low_cache_hit_rate' as rule_id,
        missed_cache_cost_usd as estimated_saving_usd,
        'cost of each run times the share of its prompt not read from the cache' as saving_basis
    from patterns
    where execution_count > {{ var('insight_cache_min_runs') }} and cache_hit_rate < {{ var('insight_low_cache_hit_rate') }}

),

frequent_expensive as (

    select
        project_id,
        pattern_id,
        'frequent_and_expensive' as rule_id,
        greatest(cost_usd - costed_count * cost_usd_p50::numeric, 0) as estimated_saving_usd,
        'cost above that of the same number of median runs' as saving_basis
    from patterns
    where
        execution_count > {{ var('insight_frequent_min_runs') }}
        and mean_cost_usd > {{ var('insight_frequent_cost_usd') }}

),

expensive as (

    select
        project_id,
        pattern_id,
        'expensive' as rule_id,
        greatest(cost_usd - costed_count * cost_usd_p50::numeric, 0) as estimated_saving_usd,
        'cost above that of the same number of median runs' as saving_basis
    from patterns
    where mean_cost_usd > {{ var('insight_expensive_cost_usd') }}

),

best_cache as (

    select
        project_id,
        pattern_id,
        'best_cache_use' as rule_id,
        null::numeric as estimated_saving_usd,
        'an example to follow: nothing to save' as saving_basis
    from patterns
    where execution_count > {{ var('insight_cache_min_runs') }} and cache_hit_rate > {{ var('insight_best_cache_hit_rate') }}

),

fired as (

    select * from low_cache
    union all
    select * from frequent_expensive
    union all
    select * from expensive
    union all
    select * from best_cache

),

final as (

    select
        fired.project_id,
        fired.pattern_id,
        fired.rule_id,
        round(fired.estimated_saving_usd, 6) as estimated_saving_usd,
        fired.saving_basis,
        case
            when patterns.execution_count >= 30 and not patterns.is_cost_lower_bound then 'high'
            when patterns.execution_count >= 10 then 'medium'
            else 'low'
        end as confidence,
        'open' as state,
        jsonb_build_object(
            'execution_count', patterns.execution_count,
            'cost_usd', patterns.cost_usd,
            'mean_cost_usd', round(patterns.mean_cost_usd::numeric, 6),
            'cost_p50_usd', round(patterns.cost_usd_p50::numeric, 6),
            'cache_hit_rate', round(patterns.cache_hit_rate::numeric, 2),
            'cache_savings_usd', patterns.cache_savings_usd,
            'is_cost_lower_bound', patterns.is_cost_lower_bound
        ) as evidence
    from fired
    inner join patterns on fired.pattern_id = patterns.pattern_id

)

select * from final
