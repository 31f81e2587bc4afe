with source as (

    select * from {{ source('raw', 'simulations') }}

),

renamed as (

    select
        project_id,
        simulation_id,
        config_version_id,
        simulation_name,
        status,
        overall_score,
        execution_time_ms,
        total_cost_usd,
        timeout_ms,
        started_at,
        completed_at,
        created_at
    from source

)

select * from renamed
