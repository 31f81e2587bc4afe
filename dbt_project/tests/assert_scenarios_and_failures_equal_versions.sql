-- Scenarios and versions hold the same attempts, project by project, and clusters hold all that was wasted on them.
with

versions as (

    select
        project_id,
        sum(attempt_count) as attempt_count,
        sum(failed_count) as failed_count,
        sum(cost_usd) as cost_usd,
        sum(wasted_cost_usd) as wasted_cost_usd
    from {{ ref('config_version_performance') }}
    group by project_id

),

scenarios as (

    select
        project_id,
        sum(attempt_count) as attempt_count,
        sum(failed_count) as failed_count,
        sum(cost_usd) as cost_usd,
        sum(wasted_cost_usd) as wasted_cost_usd
    from {{ ref('scenario_reliability') }}
    group by project_id

),

failures as (

    select
        project_id,
        sum(wasted_cost_usd) as wasted_cost_usd
    from {{ ref('failure_summary') }}
    group by project_id

)

select versions.project_id
from versions
left join scenarios on versions.project_id = scenarios.project_id
left join failures on versions.project_id = failures.project_id
where
    versions.attempt_count is distinct from coalesce(scenarios.attempt_count, 0)
    or versions.failed_count is distinct from coalesce(scenarios.failed_count, 0)
    or versions.cost_usd is distinct from scenarios.cost_usd
    or (versions.wasted_cost_usd is null) <> (scenarios.wasted_cost_usd is null)
    or (versions.wasted_cost_usd is null) <> (failures.wasted_cost_usd is null)
    -- Shares of a cost, a third for example, do not add up to it to the last digit.
    or abs(versions.wasted_cost_usd - scenarios.wasted_cost_usd) > 0.000001
    or abs(versions.wasted_cost_usd - failures.wasted_cost_usd) > 0.000001
