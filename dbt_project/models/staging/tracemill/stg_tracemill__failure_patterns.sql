with source as (

    select * from {{ source('raw', 'failure_patterns') }}

),

renamed as (

    select
        -- ids
        project_id,
        pattern_id,
        outcome_id,
        cluster_id,

        -- text
        failure_category,
        failure_type,
        -- An error without words is known by its name only.
        coalesce(nullif(error_template, ''), failure_type) as error_template,

        -- booleans
        recovery_attempted,
        recovery_successful,

        -- times
        execution_time as executed_at,
        (execution_time at time zone 'UTC')::date as activity_date
    from source

)

select * from renamed
