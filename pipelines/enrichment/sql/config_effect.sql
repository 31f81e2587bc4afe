-- Only scenarios that both versions met count, or easier ones would look like progress.
with attempts as (
    select
        s.config_version_id as version_id,
        o.scenario_id,
        o.status,
        o.reliability_score as score,
        o.is_passed,
        o.execution_time_ms,
        o.tokens_used,
        o.cost_usd
    from raw.simulations as s
    inner join raw.outcomes as o on s.project_id = o.project_id and s.simulation_id = o.simulation_id
    where s.project_id = %(project)s and s.config_version_id in (%(before)s, %(after)s)
),

shared as (
    select
        scenario_id,
        avg(score) filter (where version_id = %(before)s) as score_before,
        avg(score) filter (where version_id = %(after)s) as score_after
    from attempts
    group by scenario_id
    having count(distinct version_id) = 2
),

measured as (
    select
        a.version_id,
        count(*) as attempts,
        count(*) filter (where a.status in ('error', 'timeout')) as failures,
        count(a.is_passed) as judged,
        count(*) filter (where a.is_passed) as passed,
        count(a.score) as scored,
        avg(a.score) as mean_score,
        avg(a.execution_time_ms) as mean_ms,
        avg(a.tokens_used) as mean_tokens,
        avg(a.cost_usd) as mean_cost_usd
    from attempts as a
    inner join shared as s on a.scenario_id = s.scenario_id
    group by a.version_id
),

compared as (
    select
        count(*) as scenarios,
        count(*) filter (where score_after > score_before) as better,
        count(*) filter (where score_after < score_before) as worse,
        count(*) filter (where score_after = score_before) as same
    from shared
)

select m.*, c.*
from measured as m
cross join compared as c
order by m.version_id = %(after)s
