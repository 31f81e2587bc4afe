-- Scores outside the scale that their source names are kept and cannot be normalised: somebody should mend the scale.
{{ config(severity='warn') }}

select
    project_id,
    outcome_id
from {{ ref('stg_tracemill__outcomes') }}
where is_off_scale and {{ time_to_check('executed_at') }}
