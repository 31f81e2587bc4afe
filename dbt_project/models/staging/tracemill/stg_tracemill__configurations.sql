with source as (

    select * from {{ source('raw', 'configurations') }}

),

renamed as (

    select
        -- ids
        project_id,
        config_id,

        -- text
        name as config_name,

        -- booleans
        is_active
    from source

)

select * from renamed
