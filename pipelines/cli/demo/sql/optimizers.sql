-- Optimizers on one data set, one row per optimizer: of all data sets, the one that most of them have tried.
with comparable as (
    select *
    from raw.optimization_runs
    where
        project_id = any(%(projects)s) and dataset_hash is not null
        and best_score is not null and best_evaluation_kind = 'full'
),

chosen as (
    select project_id, task, dataset_hash
    from comparable
    group by project_id, task, dataset_hash
    order by count(distinct optimizer) desc, count(*) desc, project_id asc, task asc, dataset_hash asc
    limit 1
)

select
    project_id,
    task,
    dataset_hash,
    optimizer,
    count(*) as runs,
    sum(full_evaluations)::bigint as evaluations,
    max(best_score) as best_score,
    avg(best_score - initial_score) as mean_gain
from comparable
inner join chosen using (project_id, task, dataset_hash)
group by project_id, task, dataset_hash, optimizer
order by best_score desc, optimizer asc
