{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['project_id', 'config_version_id', 'scenario_id', 'activity_date'], 'unique': true},
        ],
    )
}}

with

outcomes as (

    select * from {{ ref('int_version_outcomes') }}
    where {{ in_scope('executed_at') }}

),

final as (

    select
        project_id,
        config_version_id,
        scenario_id,
        activity_date,
        {{ sum_attempts() }}
    from outcomes
    group by project_id, config_version_id, scenario_id, activity_date

)

select * from final
