{{ config(materialized='view') }}

with

outcomes as (

    select * from {{ ref('stg_tracemill__outcomes') }}

),

simulations as (

    select * from {{ ref('stg_tracemill__simulations') }}

),

final as (

    select
        outcomes.project_id,
        outcomes.outcome_id,
        simulations.config_version_id,
        outcomes.scenario_id,
        outcomes.activity_date,
        outcomes.executed_at,
        outcomes.status,
        outcomes.is_passed,
        outcomes.is_reliable,
        outcomes.score,
        outcomes.duration_ms,
        outcomes.total_tokens,
        outcomes.cost_usd,
        outcomes.is_unpriced,
        outcomes.is_cost_lower_bound,
        outcomes.retry_count
    from outcomes
    inner join simulations
        on outcomes.project_id = simulations.project_id
        and outcomes.simulation_id = simulations.simulation_id

)

select * from final
