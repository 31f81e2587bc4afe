with source as (

    select * from {{ source('raw', 'simulations') }}

),

renamed as (

    select
        -- ids
        project_id,
        simulation_id,
        config_version_id,

        -- text
        simulation_name,
        status,
        source,

        -- numbers
        overall_score,
        execution_time_ms,
        total_cost_usd,
        timeout_ms,

        -- times
        started_at,
        completed_at,
        created_at
    from source

)

select * from renamed
