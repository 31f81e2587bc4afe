with

active as (

    select * from {{ ref('stg_tracemill__simulations') }}
    where status in ('pending', 'running')

),

final as (

    select
        active.project_id,
        active.simulation_id,
        active.simulation_name,
        active.status,
        progress.completed_scenarios,
        progress.total_scenarios,
        100 * {{ ratio('progress.completed_scenarios', 'progress.total_scenarios') }} as progress_pct,
        extract(epoch from now() - active.started_at)::double precision as runtime_seconds,
        case
            when active.started_at is null then extract(epoch from now() - active.created_at)
        end::double precision as waiting_seconds,
        coalesce(
            extract(epoch from now() - active.started_at) * 1000 > active.timeout_ms, false
        ) as is_overdue,
        versions.model,
        active.started_at,
        active.created_at
    from active
    inner join {{ ref('stg_tracemill__simulation_progress') }} as progress
        on active.project_id = progress.project_id
        and active.simulation_id = progress.simulation_id
    inner join {{ ref('stg_tracemill__config_versions') }} as versions
        on active.project_id = versions.project_id
        and active.config_version_id = versions.config_version_id

)

select * from final
