{%- set keys = ['project_id', 'config_version_id'] -%}
{{
    config(
        unique_key=['project_id', 'config_version_id'],
        meta={'span': ['first_activity_date', 'last_activity_date']},
        indexes=[{'columns': ['project_id', 'config_version_id'], 'unique': true}],
    )
}}

with

affected as ({{ affected_keys(ref('int_version_scenario_days'), keys) }}),

summed as (

    select
        pairs.project_id,
        pairs.config_version_id,
        count(*) as scenario_count,
        min(pairs.first_activity_date) as first_activity_date,
        max(pairs.last_activity_date) as last_activity_date,
        {{ sum_attempt_measures() }}
    from affected
    inner join {{ ref('int_version_scenarios') }} as pairs
        on {{ same_keys('affected', 'pairs', keys) }}
    group by pairs.project_id, pairs.config_version_id

),

buckets as (

    select
        sketches.project_id,
        sketches.config_version_id,
        sketches.metric,
        part.bucket,
        sum(part.observations) as observations
    from affected
    inner join {{ ref('int_version_sketches') }} as sketches
        on {{ same_keys('affected', 'sketches', keys) }}
    cross join lateral unnest(sketches.buckets, sketches.observations) as part (bucket, observations)
    group by sketches.project_id, sketches.config_version_id, sketches.metric, part.bucket

),

ranks as (

    select
        project_id,
        config_version_id,
        metric,
        bucket,
        (sum(observations) over (
            partition by project_id, config_version_id, metric
            order by bucket
        ))::bigint as running_count
    from buckets

),

arrays as (

    select
        project_id,
        config_version_id,
        metric,
        {{ sketch_arrays() }}
    from ranks
    group by project_id, config_version_id, metric

),

quantiles as (

    select
        project_id,
        config_version_id,
        metric,
        {{ sketch_quantile(0.5) }} as p50,
        {{ sketch_quantile(0.9) }} as p90,
        {{ sketch_quantile(0.95) }} as p95,
        {{ sketch_quantile(0.99) }} as p99
    from arrays

),

final as (

    select
        summed.*,
        durations.p50 as duration_p50_ms,
        durations.p90 as duration_p90_ms,
        durations.p95 as duration_p95_ms,
        durations.p99 as duration_p99_ms,
        costs.p50 as cost_p50_usd,
        costs.p95 as cost_p95_usd,
        tokens.p50 as tokens_p50,
        tokens.p95 as tokens_p95
    from summed
    {% for metric, alias in [('duration_ms', 'durations'), ('cost_usd', 'costs'), ('tokens', 'tokens')] -%}
        left join quantiles as {{ alias }}
            on summed.project_id = {{ alias }}.project_id
            and summed.config_version_id = {{ alias }}.config_version_id
            and {{ alias }}.metric = '{{ metric }}'
    {% endfor %}

)

select * from final
