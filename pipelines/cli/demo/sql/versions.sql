-- The versions of the configuration that was evaluated most often, on the scenarios that all of them met.
with runs as (
    select v.project_id, v.config_id, c.name, v.version_number, s.simulation_id
    from raw.simulations as s
    inner join raw.config_versions as v on s.project_id = v.project_id and s.config_version_id = v.version_id
    inner join raw.configurations as c on v.project_id = c.project_id and v.config_id = c.config_id
    where s.project_id = any(%(projects)s)
),

chosen as (
    select project_id, config_id, count(distinct version_number) as versions
    from runs
    group by project_id, config_id
    having count(distinct version_number) > 1
    order by count(*) desc, project_id asc, config_id asc
    limit 1
),

results as (
    select r.project_id, r.name, r.version_number, r.simulation_id, o.scenario_id, o.is_passed, o.cost_usd
    from runs as r
    inner join chosen as c on r.project_id = c.project_id and r.config_id = c.config_id
    inner join raw.outcomes as o on r.project_id = o.project_id and r.simulation_id = o.simulation_id
),

shared as (
    select scenario_id
    from results
    group by scenario_id
    having count(distinct version_number) = (select versions from chosen)
)

select
    project_id,
    name,
    version_number,
    count(distinct simulation_id) as simulations,
    count(is_passed) as judged,
    count(*) filter (where is_passed) as passed,
    avg(cost_usd) as mean_cost_usd
from results
inner join shared using (scenario_id)
group by project_id, name, version_number
order by version_number
