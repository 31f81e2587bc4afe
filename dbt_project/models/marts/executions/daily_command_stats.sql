{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

executions as (

    select * from {{ ref('stg_tracemill__command_executions') }}
    where {{ in_scope('started_at') }}

),

summed as (

    select
        project_id,
        activity_date,
        command_base,
        {{ sum_executions() }},
        count(*) filter (where input_tokens > 0 and cached_tokens = 0) as cold_start_count,
        percentile_cont(array[0.5, 0.95]) within group (order by total_tokens) as tokens_quantiles,
        percentile_cont(array[0.5, 0.95]) within group (order by cost_usd::double precision) as cost_quantiles,
        percentile_cont(array[0.5, 0.95]) within group (order by execution_time_ms) as duration_quantiles
    from executions
    group by project_id, activity_date, command_base

),

final as (

    select
        project_id,
        activity_date,
        command_base,
        {{ list_measures() }},
        cold_start_count,
        {{ outcome_rates() }},
        {{ cache_hit_rate('cached_tokens', 'input_tokens') }} as cache_hit_rate,
        {{ ratio('total_tokens', 'execution_count') }} as mean_tokens,
        tokens_quantiles[1] as tokens_p50,
        tokens_quantiles[2] as tokens_p95,
        cost_quantiles[1] as cost_p50_usd,
        cost_quantiles[2] as cost_p95_usd,
        duration_quantiles[1] as duration_p50_ms,
        duration_quantiles[2] as duration_p95_ms,
        lower_bound_count > 0 as is_cost_lower_bound
    from summed

)

select * from final
