{{ config(materialized='view') }}

with

sketches as (

    select * from {{ ref('int_pattern_sketches') }}
    where activity_date is null

),

final as (

    select
        project_id,
        pattern_id,
        metric,
        total as observation_count,
        {{ sketch_quantile(0.5) }} as p50,
        {{ sketch_quantile(0.9) }} as p90,
        {{ sketch_quantile(0.95) }} as p95,
        {{ sketch_quantile(0.99) }} as p99
    from sketches

)

select * from final
