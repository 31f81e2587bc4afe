-- Evaluations, one row per project. An outcome without a verdict counts neither as passed nor as failed.
with runs as (
    select
        project_id,
        count(*) as simulations,
        count(*) filter (where status = 'running') as running,
        count(distinct config_version_id) as versions,
        count(distinct (started_at at time zone 'UTC')::date) as days
    from raw.simulations
    where project_id = any(%(projects)s)
    group by project_id
),

results as (
    select
        project_id,
        count(*) as outcomes,
        count(is_passed) as judged,
        count(*) filter (where is_passed) as passed,
        sum(tokens_used)::bigint as tokens,
        count(*) - count(tokens_used) as outcomes_without_tokens,
        sum(cost_usd) as cost_usd,
        count(*) filter (where cost_status in ('partial', 'unpriced')) as outcomes_without_cost
    from raw.outcomes
    where project_id = any(%(projects)s)
    group by project_id
)

select *
from runs
inner join results using (project_id)
order by outcomes desc, project_id asc
