select distinct on (o.project_id, o.outcome_id, t.call_number)
    o.project_id,
    o.outcome_id,
    o.execution_time,
    t.call_number,
    t.tool_name,
    t.status,
    t.started_at,
    t.duration_ms,
    t.cost_usd,
    t.error_type,
    t.error_message
from staged_outputs as s
inner join fresh_outcomes as o on s.project_id = o.project_id and (s.body ->> 'id')::uuid = o.outcome_id
cross join lateral jsonb_to_recordset(s.body -> 'tools') as t (
    call_number integer,
    tool_name text,
    status text,
    started_at timestamptz,
    duration_ms double precision,
    cost_usd numeric,
    error_type text,
    error_message text
)
where s.kind = 'outcome'
order by o.project_id, o.outcome_id, t.call_number, s.record_number desc
