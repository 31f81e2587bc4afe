select distinct on (s.project_id, b.id)
    s.project_id,
    b.id as outcome_id,
    coalesce(known.execution_time, b.execution_time) as execution_time,
    b.simulation_id,
    b.scenario_id,
    b.epoch,
    b.status,
    b.score_raw,
    numrange((b.score_scale ->> 0)::numeric, (b.score_scale ->> 1)::numeric, '[]') as score_scale,
    b.is_passed,
    b.execution_time_ms,
    b.model,
    b.tokens_used,
    b.input_tokens,
    b.cache_read_tokens,
    b.cache_creation_tokens,
    b.output_tokens,
    b.cost_usd,
    b.cost_status,
    b.price_version,
    b.step_count,
    b.trajectory,
    b.metrics,
    b.retry_count,
    b.error_code,
    b.sandbox_id
from staged_outputs as s
cross join lateral jsonb_to_record(s.body) as b (
    id uuid,
    simulation_id uuid,
    scenario_id text,
    epoch integer,
    execution_time timestamptz,
    status text,
    score_raw numeric,
    score_scale jsonb,
    is_passed boolean,
    execution_time_ms double precision,
    model text,
    tokens_used bigint,
    input_tokens bigint,
    cache_read_tokens bigint,
    cache_creation_tokens bigint,
    output_tokens bigint,
    cost_usd numeric,
    cost_status text,
    price_version text,
    step_count integer,
    trajectory jsonb,
    metrics jsonb,
    retry_count integer,
    error_code text,
    sandbox_id text
)
left join lateral (
    select o.execution_time
    from raw.outcomes as o
    where o.project_id = s.project_id and o.outcome_id = b.id
    limit 1
) as known on true
where s.kind = 'outcome'
order by s.project_id, b.id, s.record_number desc
