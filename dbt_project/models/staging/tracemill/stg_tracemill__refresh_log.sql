with source as (

    select * from {{ source('ops', 'refresh_log') }}

),

renamed as (

    select
        refresh_id,
        status,
        scope,
        day_count,
        first_date,
        last_date,
        started_at,
        finished_at
    from source

)

select * from renamed
