-- What optimizers did, one row per project and task. Scores on 0..1, of full evaluations only: those compare.
select
    project_id,
    task,
    count(*) as runs,
    count(*) filter (where status = 'completed') as completed,
    count(*) filter (where status in ('failed', 'cancelled')) as stopped,
    count(*) filter (where status in ('pending', 'running')) as running,
    min(initial_score) as lowest_start,
    max(best_score) filter (where best_evaluation_kind = 'full') as best_score,
    (array_agg(optimizer order by best_score desc nulls last, start_time, id)
        filter (where best_evaluation_kind = 'full'))[1] as best_optimizer,
    sum(total_tokens)::bigint as tokens,
    count(*) filter (where total_tokens = 0) as runs_without_tokens,
    sum(total_cost_usd) as cost_usd,
    count(*) filter (where total_cost_usd is null or unpriced_iterations > 0) as runs_without_cost
from raw.optimization_runs
where project_id = any(%(projects)s)
group by project_id, task
order by runs desc, project_id, task
