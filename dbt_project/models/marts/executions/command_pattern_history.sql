{{
    config(
        incremental_predicates=['snapshot_date = (select window_end from intermediate.int_aggregation_window)'],
        full_refresh=false,
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['snapshot_date']}],
    )
}}

-- What the dimension said on each day: never rebuilt from raw, which may be gone, so not by a full refresh either.
with

patterns as (

    select * from {{ ref('command_patterns') }}
    where execution_count > 0

),

final as (

    select
        project_id,
        id as pattern_id,
        window_end as snapshot_date,
        pattern_signature,
        command_base,
        window_start,
        active_days,
        execution_count,
        completed_count,
        failed_count,
        timeout_count,
        cancelled_count,
        total_tokens,
        input_tokens,
        output_tokens,
        cached_tokens,
        cost_usd,
        cache_savings_usd,
        success_rate,
        error_rate,
        cache_hit_rate,
        tokens_p50,
        tokens_p95,
        cost_p50_usd,
        cost_p95_usd,
        duration_p50_ms,
        duration_p95_ms,
        is_cost_lower_bound
    from patterns

)

select * from final
