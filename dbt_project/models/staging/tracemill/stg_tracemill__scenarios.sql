with source as (

    select * from {{ source('raw', 'scenarios') }}

),

renamed as (

    select
        -- ids
        project_id,
        scenario_id,

        -- text
        name as scenario_name,
        dataset,
        difficulty_level,

        -- booleans
        is_active
    from source

)

select * from renamed
