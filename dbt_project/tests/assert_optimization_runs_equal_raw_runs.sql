-- The marts of optimization hold every raw run and no other, each as it is now or as it was before it last changed.
-- Runs are written while marts are built: what came in the hour before the newest known run may be missing yet.
with

raw_runs as (

    select * from {{ ref('stg_tracemill__optimization_runs') }}

),

runs as (

    select * from {{ ref('int_optimization_runs') }}

),

known as (

    select max(run_version) as newest_version
    from runs

)

select
    coalesce(raw_runs.project_id, runs.project_id) as project_id,
    coalesce(raw_runs.run_id, runs.run_id) as run_id
from raw_runs
full join runs
    on raw_runs.project_id = runs.project_id
    and raw_runs.run_id = runs.run_id
cross join known
where
    raw_runs.run_id is null
    or (
        runs.run_id is null
        and (known.newest_version is null or raw_runs.run_version < known.newest_version - interval '1 hour')
    )
    or (
        raw_runs.run_version = runs.run_version
        and (
            raw_runs.status <> runs.status
            or raw_runs.iteration_count <> runs.iteration_count
            or raw_runs.final_score is distinct from runs.final_score
            or raw_runs.total_tokens is distinct from runs.total_tokens
            or raw_runs.total_cost_usd is distinct from runs.total_cost_usd
        )
    )
