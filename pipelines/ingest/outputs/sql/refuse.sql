-- Records that do not fit together: of two that name the same thing the first is taken, and a child needs its parent.
-- Parents that the warehouse knows from elsewhere count.

insert into refused_outputs (record_number, reason, detail)
select
    record_number,
    'duplicate_with_other_values',
    'Iteration ' || (body ->> 'iteration') || ' of run "' || (body ->> 'run_key')
    || '" stands here again with other values; the first is kept.'
from (
    select
        s.*,
        first_value(s.body) over (
            partition by s.project_id, s.body ->> 'run_id', s.body ->> 'iteration' order by s.record_number
        ) as first_body
    from staged_outputs as s
    where s.kind = 'iteration'
) as i
where i.body - 'line' - 'offset' <> i.first_body - 'line' - 'offset'
union all
select
    record_number,
    'duplicate_with_other_values',
    'Sample ' || (body ->> 'sample_index') || ' of iteration ' || (body ->> 'iteration') || ' of run "'
    || (body ->> 'run_key') || '" stands here again with other values; the first is kept.'
from (
    select
        s.*,
        first_value(s.body) over (
            partition by s.project_id, s.body ->> 'run_id', s.body ->> 'iteration', s.body ->> 'sample_index'
            order by s.record_number
        ) as first_body
    from staged_outputs as s
    where s.kind = 'sample'
) as i
where i.body - 'line' - 'offset' <> i.first_body - 'line' - 'offset';

insert into refused_outputs (record_number, reason, detail)
select
    s.record_number,
    'unknown_run',
    'Iteration ' || (s.body ->> 'iteration') || ' belongs to run "' || (s.body ->> 'run_key')
    || '", which is neither in this document nor in the warehouse; ingest the run with it or before it.'
from staged_outputs as s
where
    s.kind = 'iteration'
    and not exists (
        select from staged_outputs as r
        where r.kind = 'run' and r.project_id = s.project_id and r.body ->> 'id' = s.body ->> 'run_id'
    )
    and not exists (
        select from raw.optimization_runs as r
        where r.project_id = s.project_id and r.id = (s.body ->> 'run_id')::uuid
    );

delete from staged_outputs as s
using refused_outputs as x
where s.record_number = x.record_number;

insert into refused_outputs (record_number, reason, detail)
select
    s.record_number,
    'unknown_iteration',
    'Sample ' || (s.body ->> 'sample_index') || ' belongs to iteration ' || (s.body ->> 'iteration') || ' of run "'
    || (s.body ->> 'run_key') || '", which is neither in this document nor in the warehouse; ingest it first.'
from staged_outputs as s
where
    s.kind = 'sample'
    and not exists (
        select from staged_outputs as i
        where
            i.kind = 'iteration'
            and i.project_id = s.project_id
            and i.body ->> 'run_id' = s.body ->> 'run_id'
            and i.body ->> 'iteration' = s.body ->> 'iteration'
    )
    and not exists (
        select from raw.optimization_iterations as i
        where
            i.project_id = s.project_id
            and i.run_id = (s.body ->> 'run_id')::uuid
            and i.iteration = (s.body ->> 'iteration')::integer
    )
union all
select
    s.record_number,
    'unknown_simulation',
    'An outcome of scenario "' || (s.body ->> 'scenario_id') || '" belongs to simulation "'
    || (s.body ->> 'simulation_key') || '", which is neither in this document nor in the warehouse.'
from staged_outputs as s
where
    s.kind = 'outcome'
    and not exists (
        select from staged_outputs as p
        where p.kind = 'simulation' and p.project_id = s.project_id and p.body ->> 'id' = s.body ->> 'simulation_id'
    )
    and not exists (
        select from raw.simulations as p
        where p.project_id = s.project_id and p.simulation_id = (s.body ->> 'simulation_id')::uuid
    )
union all
select
    s.record_number,
    'unknown_scenario',
    'The scenario "' || n.scenario_id || '" is neither in this document nor in the warehouse; describe it first.'
from staged_outputs as s
cross join lateral (
    select s.body ->> 'scenario_id' as scenario_id
    where s.kind = 'outcome'
    union all
    select planned
    from jsonb_array_elements_text(case s.kind when 'simulation' then s.body -> 'planned_scenarios' else '[]' end) as planned
) as n
where
    s.kind in ('outcome', 'simulation')
    and not exists (
        select from staged_outputs as p
        where p.kind = 'scenario' and p.project_id = s.project_id and p.body ->> 'scenario_id' = n.scenario_id
    )
    and not exists (
        select from raw.scenarios as p
        where p.project_id = s.project_id and p.scenario_id = n.scenario_id
    );

-- A simulation whose plan names a scenario that nobody knows is loaded without that scenario.
delete from staged_outputs as s
using refused_outputs as x
where s.record_number = x.record_number and s.kind <> 'simulation';
