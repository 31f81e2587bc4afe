{{
    config(
        incremental_strategy='settle',
        unique_key=['project_id', 'run_date', 'optimizer_type'],
        indexes=[{'columns': ['run_date']}],
    )
}}

with

runs as (

    select * from {{ ref('int_optimization_runs') }}

),

summed as (

    select
        project_id,
        run_date,
        optimizer_type,
        {{ sum_run_measures() }}
    from runs
    group by project_id, run_date, optimizer_type

),

final as (

    select
        project_id,
        run_date,
        optimizer_type,
        {{ list_run_measures() }},
        {{ ratio('completed_runs', 'total_runs - unfinished_runs') }} as success_rate,
        {{ wilson_low('completed_runs', '(total_runs - unfinished_runs)') }} as success_rate_low,
        {{ wilson_high('completed_runs', '(total_runs - unfinished_runs)') }} as success_rate_high
    from summed

)

select * from final
