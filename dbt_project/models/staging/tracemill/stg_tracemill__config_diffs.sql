with source as (

    select * from {{ source('raw', 'config_diffs') }}

),

renamed as (

    select
        -- ids
        project_id,
        diff_id,
        config_id,
        version_before as config_version_id_before,
        version_after as config_version_id_after,

        -- text
        approval_status,

        -- numbers
        number_before as version_number_before,
        number_after as version_number_after,

        -- objects
        impact_prediction,

        -- times
        created_at
    from source

)

select * from renamed
