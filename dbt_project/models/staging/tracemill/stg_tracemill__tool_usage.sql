with source as (

    select * from {{ source('raw', 'tool_usage') }}

),

renamed as (

    select
        -- ids
        project_id,
        outcome_id,

        -- text
        tool_name,
        status,
        error_type,

        -- numbers
        call_number,
        duration_ms::numeric as duration_ms,
        cost_usd,

        -- times
        execution_time as executed_at,
        (execution_time at time zone 'UTC')::date as activity_date
    from source

)

select * from renamed
