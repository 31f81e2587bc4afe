{{ config(incremental_predicates=['true']) }}

-- Every pattern ever seen, with the numbers of the window; a pattern without runs in it has counts of zero and no
-- rates, because no data is not the same as nothing spent.
with

patterns as (

    select * from {{ ref('int_patterns') }}

),

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

sums as (

    select * from {{ ref('int_pattern_window') }}

),

quantiles as (

    select
        pattern_id,
        {% for metric in ['tokens', 'cost_usd', 'duration_ms'] -%}
            {% for share in ['p50', 'p90', 'p95', 'p99'] -%}
                max({{ share }}) filter (where metric = '{{ metric }}') as {{ metric }}_{{ share }},
            {% endfor -%}
        {% endfor -%}
        count(*) as metric_count
    from {{ ref('int_pattern_quantiles') }}
    group by pattern_id

),

measured as (

    select
        patterns.project_id,
        patterns.pattern_id,
        patterns.pattern_signature,
        patterns.command_base,
        patterns.first_seen_date,
        patterns.last_seen_date,
        patterns.last_evidence_at,
        bounds.window_start,
        bounds.window_end,
        {% for measure in usage_measures() -%}
            {% if measure.endswith('_usd') -%}
                sums.{{ measure }},
            {%- else -%}
                coalesce(sums.{{ measure }}, 0) as {{ measure }},
            {%- endif %}
        {% endfor -%}
        coalesce(sums.prompted_count, 0) as prompted_count,
        coalesce(sums.cold_start_count, 0) as cold_start_count,
        coalesce(sums.costed_count, 0) as costed_count,
        coalesce(sums.active_days, 0) as active_days,
        sums.squared_tokens,
        sums.missed_cache_cost_usd,
        quantiles.tokens_p50,
        quantiles.tokens_p90,
        quantiles.tokens_p95,
        quantiles.tokens_p99,
        quantiles.cost_usd_p50,
        quantiles.cost_usd_p90,
        quantiles.cost_usd_p95,
        quantiles.cost_usd_p99,
        quantiles.duration_ms_p50,
        quantiles.duration_ms_p90,
        quantiles.duration_ms_p95,
        quantiles.duration_ms_p99
    from patterns
    cross join bounds
    left join sums on patterns.pattern_id = sums.pattern_id
    left join quantiles on patterns.pattern_id = quantiles.pattern_id

),

final as (

    select
        *,
        {{ outcome_rates() }},
        {{ cache_hit_rate('cached_tokens', 'input_tokens') }} as cache_hit_rate,
        {{ ratio('cold_start_count', 'prompted_count') }} as cold_start_share,
        {{ ratio('cache_creation_1h_tokens', 'cache_creation_tokens') }} as write_1h_share,
        {{ ratio('total_tokens', 'execution_count') }} as mean_tokens,
        {{ standard_deviation('execution_count', 'total_tokens', 'squared_tokens') }} as sd_tokens,
        {{ ratio('cost_usd', 'costed_count') }} as mean_cost_usd,
        {{ ratio('cost_usd', 'completed_count') }} as cost_per_success_usd,
        {{ ratio('tool_call_count', 'execution_count') }} as mean_tool_calls,
        lower_bound_count > 0 as is_cost_lower_bound
    from measured

)

select * from final
