-- Every hour of the last day has a row, an idle one too. What still runs has neither duration nor score yet, so
-- means are over what ended, and over what has a score.
with

simulations as (

    select
        *,
        coalesce(started_at, created_at) as begun_at
    from {{ ref('stg_tracemill__simulations') }}
    where coalesce(started_at, created_at) > now() - interval '25 hours'

),

hours as (

    select
        projects.project_id,
        hours.hour_at
    from {{ ref('stg_tracemill__projects') }} as projects
    cross join generate_series(
        date_trunc('hour', now()) - interval '23 hours', date_trunc('hour', now()), interval '1 hour'
    ) as hours (hour_at)

),

final as (

    select
        hours.project_id,
        hours.hour_at,
        count(simulations.simulation_id) as total_simulations,
        count(*) filter (where simulations.status in ('completed', 'failed', 'cancelled')) as finished_count,
        count(*) filter (where simulations.status = 'completed') as completed_count,
        count(*) filter (where simulations.status = 'failed') as failed_count,
        count(*) filter (where simulations.status in ('pending', 'running')) as active_count,
        {{ ratio(
            "count(*) filter (where simulations.status = 'failed')",
            "count(*) filter (where simulations.status in ('completed', 'failed', 'cancelled'))",
        ) }} as failure_rate,
        avg(simulations.execution_time_ms) filter (
            where simulations.status in ('completed', 'failed', 'cancelled')
        )::double precision as avg_execution_time_ms,
        sum(simulations.total_cost_usd) as total_cost_usd,
        count(*) filter (
            where simulations.simulation_id is not null and simulations.total_cost_usd is null
        ) as unpriced_count,
        avg(simulations.overall_score)::double precision as avg_score,
        count(simulations.overall_score) as scored_count
    from hours
    left join simulations
        on hours.project_id = simulations.project_id
        and hours.hour_at = date_trunc('hour', simulations.begun_at)
    group by hours.project_id, hours.hour_at

)

select * from final
