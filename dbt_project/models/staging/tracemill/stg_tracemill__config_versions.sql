with source as (

    select * from {{ source('raw', 'config_versions') }}

),

renamed as (

    select
        project_id,
        version_id,
        config_id,
        version_number,
        model
    from source

)

select * from renamed
