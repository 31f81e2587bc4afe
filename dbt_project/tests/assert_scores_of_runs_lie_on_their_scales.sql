-- Scores outside the scale that their source names are kept and cannot be normalised: somebody should mend the scale.
{{ config(severity='warn') }}

select
    project_id,
    run_id
from {{ ref('stg_tracemill__optimization_runs') }}
where
    is_normalised
    and (
        (initial_score_raw is not null and initial_score is null)
        or (final_score_raw is not null and final_score is null)
        or (best_score_raw is not null and best_score is null)
    )
