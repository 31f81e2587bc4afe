with source as (

    select * from {{ source('ops', 'quarantined_records') }}

),

renamed as (

    select
        project_id,
        record_key,
        file_key,
        path,
        line_number,
        source,
        reason,
        detail,
        quarantined_at
    from source

)

select * from renamed
