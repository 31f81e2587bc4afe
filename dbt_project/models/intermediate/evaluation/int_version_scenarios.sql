{%- set keys = ['project_id', 'config_version_id', 'scenario_id'] -%}
{{
    config(
        unique_key=['project_id', 'config_version_id', 'scenario_id'],
        meta={'span': ['first_activity_date', 'last_activity_date']},
        indexes=[{'columns': ['project_id', 'config_version_id', 'scenario_id'], 'unique': true}],
    )
}}

-- A pair is summed again from its days when one of them was rebuilt; all other pairs stay as they are.
with

affected as ({{ affected_keys(ref('int_version_scenario_days'), keys) }}),

final as (

    select
        days.project_id,
        days.config_version_id,
        days.scenario_id,
        min(days.activity_date) as first_activity_date,
        max(days.activity_date) as last_activity_date,
        {{ sum_attempt_measures() }}
    from affected
    inner join {{ ref('int_version_scenario_days') }} as days
        on {{ same_keys('affected', 'days', keys) }}
    group by days.project_id, days.config_version_id, days.scenario_id

)

select * from final
