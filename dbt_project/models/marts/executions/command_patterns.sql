{{ config(incremental_predicates=['true'], indexes=[{'columns': ['id'], 'unique': true}]) }}

with

patterns as (

    select * from {{ ref('int_pattern_statistics') }}

),

drivers as (

    select
        project_id,
        command_base,
        jsonb_agg(
            jsonb_build_object(
                'feature', feature,
                'level', level,
                'n', execution_count,
                'rest_n', rest_count,
                'median_tokens', median_tokens,
                'rest_median_tokens', rest_median_tokens,
                'median_delta_tokens', median_delta_tokens,
                'effect_size', effect_size,
                'share_of_variance', share_of_variance,
                'p_value', p_value,
                'q_value', q_value
            )
            order by abs(median_delta_tokens) desc, feature asc, level asc
        ) as token_drivers
    from {{ ref('int_token_drivers') }}
    group by project_id, command_base

),

gaps as (

    select * from {{ ref('int_pattern_gaps') }}

),

failures as (

    select
        pattern_id,
        jsonb_agg(
            jsonb_build_object(
                'status', status,
                'status_reason', status_reason,
                'count', execution_count,
                'wasted_tokens', wasted_tokens,
                'wasted_cost_usd', wasted_cost_usd,
                'wasted_minutes', round(wasted_ms / 60000.0, 2),
                'last_seen_at', to_char(last_seen_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            )
            order by execution_count desc, status asc, status_reason asc
        ) as failure_patterns
    from {{ ref('int_pattern_failures') }}
    group by pattern_id

),

insights as (

    select
        pattern_id,
        jsonb_agg(
            jsonb_build_object(
                'rule_id', rule_id,
                'estimated_saving_usd', estimated_saving_usd,
                'saving_basis', saving_basis,
                'confidence', confidence,
                'state', state,
                'evidence', evidence
            )
            order by estimated_saving_usd desc nulls last, rule_id asc
        ) as optimization_insights
    from {{ ref('int_pattern_insights') }}
    group by pattern_id

),

final as (

    select
        patterns.project_id,
        patterns.pattern_id as id,
        patterns.pattern_signature,
        patterns.command_base,
        jsonb_build_object(
            'window_start', patterns.window_start,
            'window_end', patterns.window_end,
            'execution_count', patterns.execution_count,
            'completed_count', patterns.completed_count,
            'success_rate', patterns.success_rate,
            'error_rate', patterns.error_rate,
            'error_rate_low', patterns.error_rate_low,
            'error_rate_high', patterns.error_rate_high,
            'tokens', jsonb_build_object(
                'total', patterns.total_tokens,
                'mean', patterns.mean_tokens,
                'sd', patterns.sd_tokens,
                'p50', patterns.tokens_p50,
                'p90', patterns.tokens_p90,
                'p95', patterns.tokens_p95,
                'p99', patterns.tokens_p99
            ),
            'cost_usd', jsonb_build_object(
                'total', patterns.cost_usd,
                'mean', patterns.mean_cost_usd,
                'per_success', patterns.cost_per_success_usd,
                'p50', patterns.cost_usd_p50,
                'p90', patterns.cost_usd_p90,
                'p95', patterns.cost_usd_p95,
                'p99', patterns.cost_usd_p99,
                'is_lower_bound', patterns.is_cost_lower_bound
            ),
            'duration_ms', jsonb_build_object(
                'total', patterns.execution_time_ms,
                'p50', patterns.duration_ms_p50,
                'p90', patterns.duration_ms_p90,
                'p95', patterns.duration_ms_p95,
                'p99', patterns.duration_ms_p99
            ),
            'mean_tool_calls', patterns.mean_tool_calls
        ) as statistics_30d,
        coalesce(drivers.token_drivers, '[]'::jsonb) as token_drivers,
        jsonb_build_object(
            'cache_hit_rate', patterns.cache_hit_rate,
            'cached_tokens', patterns.cached_tokens,
            'cache_creation_tokens', patterns.cache_creation_tokens,
            'cache_creation_5m_tokens', patterns.cache_creation_5m_tokens,
            'cache_creation_1h_tokens', patterns.cache_creation_1h_tokens,
            'write_1h_share', patterns.write_1h_share,
            'net_savings_usd', patterns.cache_savings_usd,
            'savings_rate', {{ ratio('patterns.cache_savings_usd', '(patterns.cost_usd + patterns.cache_savings_usd)') }},
            'cold_start_share', patterns.cold_start_share,
            'gaps', jsonb_build_object(
                'count', coalesce(gaps.gap_count, 0),
                'within_5m', coalesce(gaps.gaps_within_5m, 0),
                'within_1h', coalesce(gaps.gaps_within_1h, 0),
                'beyond_1h', coalesce(gaps.gaps_beyond_1h, 0),
                'outlived', coalesce(gaps.outlived_count, 0),
                'outlived_share', {{ ratio('gaps.outlived_count', 'gaps.gap_count') }},
                'rewritten_tokens', coalesce(gaps.rewritten_tokens, 0),
                'rewritten_cost_usd', gaps.rewritten_cost_usd
            )
        ) as cache_patterns,
        coalesce(insights.optimization_insights, '[]'::jsonb) as optimization_insights,
        coalesce(failures.failure_patterns, '[]'::jsonb) as failure_patterns,
        patterns.last_evidence_at as last_updated,
        patterns.execution_count as sample_size,
        patterns.first_seen_date,
        patterns.last_seen_date,
        patterns.window_start,
        patterns.window_end,
        patterns.active_days,
        {{ list_measures('patterns') }},
        patterns.success_rate,
        patterns.error_rate,
        patterns.error_rate_low,
        patterns.error_rate_high,
        patterns.mean_tokens,
        patterns.sd_tokens,
        patterns.tokens_p50,
        patterns.tokens_p90,
        patterns.tokens_p95,
        patterns.tokens_p99,
        patterns.mean_cost_usd,
        patterns.cost_per_success_usd,
        patterns.cost_usd_p50 as cost_p50_usd,
        patterns.cost_usd_p90 as cost_p90_usd,
        patterns.cost_usd_p95 as cost_p95_usd,
        patterns.cost_usd_p99 as cost_p99_usd,
        patterns.duration_ms_p50 as duration_p50_ms,
        patterns.duration_ms_p90 as duration_p90_ms,
        patterns.duration_ms_p95 as duration_p95_ms,
        patterns.duration_ms_p99 as duration_p99_ms,
        patterns.mean_tool_calls,
        patterns.cache_hit_rate,
        patterns.cold_start_share,
        patterns.write_1h_share,
        patterns.is_cost_lower_bound
    from patterns
    left join drivers
        on patterns.project_id = drivers.project_id
        and patterns.command_base = drivers.command_base
        and patterns.execution_count > 0
    left join gaps on patterns.pattern_id = gaps.pattern_id
    left join failures on patterns.pattern_id = failures.pattern_id
    left join insights on patterns.pattern_id = insights.pattern_id

)

select * from final
