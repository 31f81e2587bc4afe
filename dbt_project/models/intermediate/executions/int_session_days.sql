{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['project_id', 'session_id', 'activity_date'], 'unique': true},
        ],
    )
}}

with

executions as (

    select * from {{ ref('stg_tracemill__command_executions') }}
    where {{ in_scope('started_at') }}

),

final as (

    select
        project_id,
        coalesce(session_id, '(none)') as session_id,
        activity_date,
        {{ sum_executions() }},
        min(started_at) as started_at,
        max(ended_at) as ended_at
    from executions
    group by project_id, coalesce(session_id, '(none)'), activity_date

)

select * from final
