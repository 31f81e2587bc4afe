{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

commands as (

    select * from {{ ref('daily_command_stats') }}
    where {{ date_in_scope('activity_date') }}

),

final as (

    select
        project_id,
        activity_date,
        command_base,
        execution_count,
        cold_start_count,
        input_tokens,
        input_tokens - cached_tokens - cache_creation_tokens as uncached_input_tokens,
        cached_tokens,
        cache_creation_tokens,
        cache_creation_5m_tokens,
        cache_creation_1h_tokens,
        cost_usd,
        cache_savings_usd,
        unpriced_count,
        cache_hit_rate,
        {{ ratio('cache_creation_1h_tokens', 'cache_creation_tokens') }} as write_1h_share,
        {{ ratio('cached_tokens', 'cache_creation_tokens') }} as reads_per_write,
        {{ ratio('cache_savings_usd', '(cost_usd + cache_savings_usd)') }} as savings_rate,
        is_cost_lower_bound
    from commands

)

select * from final
