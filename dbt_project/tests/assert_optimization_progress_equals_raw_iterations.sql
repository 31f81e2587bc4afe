-- The course of a run holds all of its iterations, tokens and costs, and ends at its best full score. Runs that changed
-- since the marts were built wait for the next build.
with

runs as (

    select raw_runs.*
    from {{ ref('stg_tracemill__optimization_runs') }} as raw_runs
    inner join {{ ref('int_optimization_runs') }} as runs
        on raw_runs.project_id = runs.project_id
        and raw_runs.run_id = runs.run_id
        and raw_runs.run_version = runs.run_version
    where raw_runs.iteration_count > 0

),

courses as (

    select
        project_id,
        run_id,
        run_version,
        max(place) as iteration_count,
        max(full_evaluations_so_far) as full_evaluation_count,
        nullif(max(tokens_so_far), 0) as evaluation_tokens,
        max(best_score) as best_score
    from {{ ref('optimization_progress') }}
    group by project_id, run_id, run_version

)

select
    runs.project_id,
    runs.run_id
from runs
left join courses
    on runs.project_id = courses.project_id
    and runs.run_id = courses.run_id
    and runs.run_version = courses.run_version
where
    runs.iteration_count is distinct from courses.iteration_count
    or runs.full_evaluation_count is distinct from courses.full_evaluation_count
    or runs.evaluation_tokens is distinct from courses.evaluation_tokens
    or (runs.best_evaluation_kind = 'full' and runs.best_score is distinct from courses.best_score)
