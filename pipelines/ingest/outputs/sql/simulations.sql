select distinct on (s.project_id, b.id)
    s.project_id,
    b.id as simulation_id,
    v.version_id as config_version_id,
    b.name as simulation_name,
    b.status,
    b.overall_score_raw,
    numrange((b.score_scale ->> 0)::numeric, (b.score_scale ->> 1)::numeric, '[]') as score_scale,
    b.execution_time_ms,
    b.total_cost_usd,
    b.metadata,
    b.timeout_ms,
    b.max_retries,
    %(source)s as source,
    b.key as source_key,
    b.started_at,
    b.completed_at,
    b.created_at
from staged_outputs as s
cross join lateral jsonb_to_record(s.body) as b (
    id uuid,
    key text,
    config_name text,
    config_hash text,
    name text,
    status text,
    overall_score_raw numeric,
    score_scale jsonb,
    execution_time_ms bigint,
    total_cost_usd numeric,
    metadata jsonb,
    timeout_ms bigint,
    max_retries integer,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz
)
inner join raw.configurations as c on s.project_id = c.project_id and b.config_name = c.name
inner join raw.config_versions as v
    on s.project_id = v.project_id and c.config_id = v.config_id and b.config_hash = v.config_hash
where s.kind = 'simulation'
order by s.project_id, b.id, s.record_number desc
