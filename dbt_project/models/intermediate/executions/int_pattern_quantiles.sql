{{ config(materialized='view') }}

with

sketches as (

    select * from {{ ref('int_pattern_sketches') }}
    where activity_date is null

),

ranked as (

    select
        project_id,
        pattern_id,
        metric,
        {{ sketch_value('bucket') }} as estimate,
        sum(observations) over (
            partition by project_id, pattern_id, metric
            order by bucket
        ) as running_count,
        sum(observations) over (partition by project_id, pattern_id, metric) as total
    from sketches

),

final as (

    select
        project_id,
        pattern_id,
        metric,
        max(total)::bigint as observation_count,
        {{ sketch_quantile(0.5) }} as p50,
        {{ sketch_quantile(0.9) }} as p90,
        {{ sketch_quantile(0.95) }} as p95,
        {{ sketch_quantile(0.99) }} as p99
    from ranked
    group by project_id, pattern_id, metric

)

select * from final
