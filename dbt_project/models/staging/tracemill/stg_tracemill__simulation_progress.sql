with source as (

    select * from {{ source('raw', 'simulation_progress') }}

),

renamed as (

    select
        project_id,
        simulation_id,
        total_scenarios,
        completed_scenarios
    from source

)

select * from renamed
