select distinct on (s.project_id, b.scenario_id)
    s.project_id,
    b.scenario_id,
    b.name,
    b.task_prompt,
    nullif(b.ground_truth, 'null') as ground_truth,
    b.difficulty_level,
    b.tags,
    nullif(b.expected_tools, 'null') as expected_tools,
    b.dataset,
    b.source_id,
    b.estimated_duration_ms
from staged_outputs as s
cross join lateral jsonb_to_record(s.body) as b (
    scenario_id text,
    name text,
    task_prompt text,
    ground_truth jsonb,
    difficulty_level text,
    tags text [],
    expected_tools jsonb,
    dataset text,
    source_id text,
    estimated_duration_ms bigint
)
where
    s.kind = 'scenario'
    -- A document that only mentions a scenario takes nothing from what another has said about it.
    and (
        b.task_prompt is not null
        or nullif(b.ground_truth, 'null') is not null
        or not exists (
            select from raw.scenarios as known
            where known.project_id = s.project_id and known.scenario_id = b.scenario_id
        )
    )
order by s.project_id, b.scenario_id, s.record_number
