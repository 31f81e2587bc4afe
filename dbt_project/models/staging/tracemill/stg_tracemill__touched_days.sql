with source as (

    select * from {{ source('ops', 'touched_days') }}

),

renamed as (

    select
        project_id,
        activity_date,
        touched_at
    from source

)

select * from renamed
