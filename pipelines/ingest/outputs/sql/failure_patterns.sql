select distinct on (o.project_id, f.pattern_id)
    o.project_id,
    f.pattern_id,
    o.outcome_id,
    o.execution_time,
    f.failure_type,
    f.failure_category,
    f.error_message,
    f.error_template,
    f.cluster_id,
    f.recovery_attempted,
    f.recovery_successful
from staged_outputs as s
inner join fresh_outcomes as o on s.project_id = o.project_id and (s.body ->> 'id')::uuid = o.outcome_id
cross join lateral jsonb_to_recordset(s.body -> 'failures') as f (
    pattern_id uuid,
    failure_type text,
    failure_category text,
    error_message text,
    error_template text,
    cluster_id text,
    recovery_attempted boolean,
    recovery_successful boolean
)
where s.kind = 'outcome'
order by o.project_id, f.pattern_id, s.record_number desc
