{{ config(incremental_predicates=['true']) }}

with

runs as (

    select * from {{ ref('int_optimization_runs') }}

),

summed as (

    select
        project_id,
        optimizer_type,
        status,
        {{ sum_run_measures() }},
        min(started_at) as first_run_at,
        max(started_at) as last_run_at
    from runs
    group by project_id, optimizer_type, status

),

final as (

    select
        project_id,
        optimizer_type,
        status,
        {{ list_run_measures() }},
        first_run_at,
        last_run_at
    from summed

)

select * from final
