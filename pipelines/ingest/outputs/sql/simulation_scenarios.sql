select
    named.project_id,
    named.simulation_id,
    named.scenario_id,
    coalesce(known.execution_order, last_known.execution_order + row_number() over (
        partition by named.project_id, named.simulation_id, known.execution_order is null
        order by named.first_named
    ))::integer as execution_order,
    coalesce(named.status, 'pending') as status,
    coalesce(named.retry_count, 0) as retry_count
from (
    select
        project_id,
        simulation_id,
        scenario_id,
        min(place) as first_named,
        case
            when bool_or(outcome_status = 'success') then 'completed'
            when bool_or(outcome_status in ('error', 'timeout')) then 'failed'
            when bool_or(outcome_status = 'cancelled') then 'cancelled'
        end as status,
        max(retry_count) as retry_count
    from (
        select
            s.project_id,
            (s.body ->> 'id')::uuid as simulation_id,
            p.scenario_id,
            p.place as place,
            null as outcome_status,
            null::integer as retry_count
        from staged_outputs as s
        cross join lateral
        jsonb_array_elements_text(s.body -> 'planned_scenarios') with ordinality as p (scenario_id, place)
        where s.kind = 'simulation'
        union all
        select
            s.project_id,
            (s.body ->> 'simulation_id')::uuid,
            s.body ->> 'scenario_id',
            1000000000 + s.record_number,
            s.body ->> 'status',
            (s.body ->> 'retry_count')::integer
        from staged_outputs as s
        where s.kind = 'outcome'
    ) as mentions
    group by project_id, simulation_id, scenario_id
) as named
inner join raw.scenarios as c on named.project_id = c.project_id and named.scenario_id = c.scenario_id
left join raw.simulation_scenarios as known
    on
        named.project_id = known.project_id
        and named.simulation_id = known.simulation_id
        and named.scenario_id = known.scenario_id
cross join lateral (
    select coalesce(max(k.execution_order), 0) as execution_order
    from raw.simulation_scenarios as k
    where k.project_id = named.project_id and k.simulation_id = named.simulation_id
) as last_known
