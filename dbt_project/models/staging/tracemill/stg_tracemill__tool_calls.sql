with source as (

    select * from {{ source('raw', 'tool_calls') }}

),

renamed as (

    select
        -- ids
        project_id,
        tool_use_id,
        session_id,
        execution_id,
        agent_id,

        -- text
        tool_name,
        status,

        -- numbers
        duration_ms,

        -- booleans
        agent_id is not null as is_subagent,

        -- times
        timestamp as called_at,
        (timestamp at time zone 'UTC')::date as activity_date,
        ingested_at,
        updated_at
    from source

)

select * from renamed
