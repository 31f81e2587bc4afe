with source as (

    select * from {{ source('raw', 'config_versions') }}

),

renamed as (

    select
        -- ids
        project_id,
        version_id as config_version_id,
        config_id,

        -- text
        model,
        generated_by,

        -- numbers
        version_number,

        -- booleans
        is_deleted,

        -- times
        created_at
    from source

)

select * from renamed
