with source as (

    select * from {{ source('raw', 'outcomes') }}

),

renamed as (

    select
        project_id,
        outcome_id,
        simulation_id,
        scenario_id,
        status,
        reliability_score,
        execution_time_ms,
        cost_usd,
        error_code,
        execution_time as executed_at,
        (execution_time at time zone 'UTC')::date as activity_date,
        created_at as ingested_at
    from source

)

select * from renamed
