{%- set keys = ['project_id', 'config_version_id', 'tool_name'] -%}
{{
    config(
        unique_key=['project_id', 'config_version_id', 'tool_name'],
        meta={'span': ['first_activity_date', 'last_activity_date']},
    )
}}

-- The calls of a tool under a version are summed again from their days when one of them was rebuilt.
with

affected as ({{ affected_keys(ref('int_tool_days'), keys) }}),

summed as (

    select
        days.project_id,
        days.config_version_id,
        days.tool_name,
        min(days.activity_date) as first_activity_date,
        max(days.activity_date) as last_activity_date,
        {% for measure in [
            'call_count', 'ok_count', 'error_count', 'unanswered_count', 'outcome_count', 'passed_outcome_count',
            'failed_outcome_count', 'timed_count', 'costed_count',
        ] -%}
            sum(days.{{ measure }})::bigint as {{ measure }},
        {% endfor -%}
        sum(days.duration_ms) as duration_ms,
        sum(days.cost_usd) as cost_usd
    from affected
    inner join {{ ref('int_tool_days') }} as days
        on {{ same_keys('affected', 'days', keys) }}
    group by days.project_id, days.config_version_id, days.tool_name

),

buckets as (

    select
        days.project_id,
        days.config_version_id,
        days.tool_name,
        part.bucket,
        sum(part.observations)::bigint as observations
    from affected
    inner join {{ ref('int_tool_days') }} as days
        on {{ same_keys('affected', 'days', keys) }}
    cross join lateral
        unnest(days.duration_buckets, days.duration_observations) as part (bucket, observations)
    group by days.project_id, days.config_version_id, days.tool_name, part.bucket

),

ranks as (

    select
        *,
        (sum(observations) over (
            partition by project_id, config_version_id, tool_name
            order by bucket
        ))::bigint as running_count
    from buckets

),

sketches as (

    select
        project_id,
        config_version_id,
        tool_name,
        array_agg(observations order by bucket) as observations,
        {{ sketch_arrays() }}
    from ranks
    group by project_id, config_version_id, tool_name

),

quantiles as (

    select
        project_id,
        config_version_id,
        tool_name,
        buckets,
        observations,
        {{ sketch_quantile(0.5) }} as p50,
        {{ sketch_quantile(0.9) }} as p90,
        {{ sketch_quantile(0.95) }} as p95,
        {{ sketch_quantile(0.99) }} as p99
    from sketches

),

sequences as (

    select
        days.project_id,
        days.config_version_id,
        days.tool_name,
        days.tool_sequence,
        sum(days.occurrence_count)::bigint as occurrence_count,
        sum(days.outcome_count)::bigint as outcome_count,
        sum(days.passed_outcome_count)::bigint as passed_outcome_count,
        sum(days.failed_outcome_count)::bigint as failed_outcome_count
    from affected
    inner join {{ ref('int_tool_sequence_days') }} as days
        on {{ same_keys('affected', 'days', keys) }}
    group by days.project_id, days.config_version_id, days.tool_name, days.tool_sequence

),

ranked_sequences as (

    select
        *,
        row_number() over (
            partition by project_id, config_version_id, tool_name
            order by occurrence_count desc, cardinality(tool_sequence) desc, tool_sequence asc
        ) as place
    from sequences

),

frequent as (

    select
        project_id,
        config_version_id,
        tool_name,
        jsonb_agg(
            jsonb_build_object(
                'sequence', to_jsonb(tool_sequence),
                'occurrences', occurrence_count,
                'outcomes', outcome_count,
                'passed', passed_outcome_count,
                'failed', failed_outcome_count
            )
            order by place
        ) as frequent_sequences
    from ranked_sequences
    where place <= {{ var('frequent_sequences') }}
    group by project_id, config_version_id, tool_name

),

final as (

    select
        summed.project_id,
        summed.config_version_id,
        summed.tool_name,
        summed.first_activity_date,
        summed.last_activity_date,
        summed.call_count,
        summed.ok_count,
        summed.error_count,
        summed.unanswered_count,
        summed.outcome_count,
        summed.passed_outcome_count,
        summed.failed_outcome_count,
        summed.timed_count,
        summed.duration_ms,
        summed.costed_count,
        summed.cost_usd,
        {{ ratio('summed.error_count', 'summed.ok_count + summed.error_count') }} as error_rate,
        {{ wilson_low('summed.error_count', '(summed.ok_count + summed.error_count)') }} as error_rate_low,
        {{ wilson_high('summed.error_count', '(summed.ok_count + summed.error_count)') }} as error_rate_high,
        {{ ratio('summed.duration_ms', 'summed.timed_count') }} as mean_duration_ms,
        quantiles.p50 as duration_p50_ms,
        quantiles.p90 as duration_p90_ms,
        quantiles.p95 as duration_p95_ms,
        quantiles.p99 as duration_p99_ms,
        quantiles.buckets as duration_buckets,
        quantiles.observations as duration_observations,
        coalesce(frequent.frequent_sequences, '[]'::jsonb) as frequent_sequences
    from summed
    left join quantiles on {{ same_keys('summed', 'quantiles', keys) }}
    left join frequent on {{ same_keys('summed', 'frequent', keys) }}

)

select * from final
