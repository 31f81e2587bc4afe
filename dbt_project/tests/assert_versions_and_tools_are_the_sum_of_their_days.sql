-- What was evaluated on a checked day holds exactly what all its days hold.
with

active_versions as (

    select distinct
        project_id,
        config_version_id
    from {{ ref('int_version_scenario_days') }}
    where {{ date_to_check('activity_date') }}

),

version_days as (

    select
        days.project_id,
        days.config_version_id,
        sum(days.attempt_count) as attempt_count,
        sum(days.passed_count) as passed_count,
        sum(days.score_sum) as score_sum,
        sum(days.cost_usd) as cost_usd
    from active_versions
    inner join {{ ref('int_version_scenario_days') }} as days
        on active_versions.project_id = days.project_id
        and active_versions.config_version_id = days.config_version_id
    group by days.project_id, days.config_version_id

),

active_tools as (

    select distinct
        project_id,
        config_version_id,
        tool_name
    from {{ ref('int_tool_days') }}
    where {{ date_to_check('activity_date') }}

),

tool_days as (

    select
        days.project_id,
        days.config_version_id,
        days.tool_name,
        sum(days.call_count) as call_count,
        sum(days.duration_ms) as duration_ms,
        sum(days.cost_usd) as cost_usd
    from active_tools
    inner join {{ ref('int_tool_days') }} as days
        on active_tools.project_id = days.project_id
        and active_tools.config_version_id = days.config_version_id
        and active_tools.tool_name = days.tool_name
    group by days.project_id, days.config_version_id, days.tool_name

)

select
    expected.project_id,
    expected.config_version_id,
    null as tool_name
from version_days as expected
left join {{ ref('config_version_performance') }} as measured
    on expected.project_id = measured.project_id
    and expected.config_version_id = measured.config_version_id
where
    expected.attempt_count is distinct from measured.attempt_count
    or expected.passed_count is distinct from measured.passed_count
    or expected.score_sum is distinct from measured.score_sum
    or expected.cost_usd is distinct from measured.cost_usd

union all

select
    expected.project_id,
    expected.config_version_id,
    expected.tool_name
from tool_days as expected
left join {{ ref('tool_performance') }} as measured
    on expected.project_id = measured.project_id
    and expected.config_version_id = measured.config_version_id
    and expected.tool_name = measured.tool_name
where
    expected.call_count is distinct from measured.call_count
    or expected.duration_ms is distinct from measured.duration_ms
    or expected.cost_usd is distinct from measured.cost_usd
