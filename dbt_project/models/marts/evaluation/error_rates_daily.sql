{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

pair_days as (

    select * from {{ ref('int_version_scenario_days') }}
    where {{ date_in_scope('activity_date') }}

),

summed as (

    select
        project_id,
        activity_date,
        scenario_id,
        count(*) as version_count,
        {{ sum_attempt_measures() }}
    from pair_days
    group by project_id, activity_date, scenario_id

),

final as (

    select
        project_id,
        activity_date,
        scenario_id,
        version_count,
        {{ list_attempt_measures() }},
        {{ attempt_rates() }},
        lower_bound_count > 0 as is_cost_lower_bound
    from summed

)

select * from final
