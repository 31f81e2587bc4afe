select distinct on (s.project_id, b.run_id, b.iteration, b.sample_index)
    s.project_id,
    b.run_id,
    b.iteration,
    b.sample_index,
    b.id,
    b.sample_key,
    nullif(b.input, 'null') as input,
    nullif(b.predicted_output, 'null') as predicted_output,
    nullif(b.expected_output, 'null') as expected_output,
    b.score_raw,
    numrange((b.score_scale ->> 0)::numeric, (b.score_scale ->> 1)::numeric, '[]') as score_scale,
    b.is_correct,
    b.program_hash,
    b.latency_ms,
    b.tokens_used,
    b.cost_usd,
    b.error_message,
    b.metadata
from staged_outputs as s
cross join lateral jsonb_to_record(s.body) as b (
    id uuid,
    run_id uuid,
    iteration integer,
    sample_index integer,
    sample_key text,
    input jsonb,
    predicted_output jsonb,
    expected_output jsonb,
    score_raw numeric,
    score_scale jsonb,
    is_correct boolean,
    program_hash text,
    latency_ms bigint,
    tokens_used bigint,
    cost_usd numeric,
    error_message text,
    metadata jsonb
)
where s.kind = 'sample'
order by s.project_id, b.run_id, b.iteration, b.sample_index, s.record_number
