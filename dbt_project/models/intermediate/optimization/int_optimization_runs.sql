{%- set part = {
    'source': 'stg_tracemill__optimization_runs', 'key': ['project_id', 'run_id'], 'version': 'run_version',
    'numbered': false, 'condition': 'true',
} -%}
{{
    config(
        unique_key=part['key'],
        meta={'part': part},
        indexes=[{'columns': ['project_id', 'run_id'], 'unique': true}, {'columns': ['comparison_id']}],
    )
}}

-- What all marts of optimization are made of: they agree with each other while runs go on being written.
with

fresh as (

    select * from (
        {{ outdated(part) }}
    ) as outdated_runs

),

runs as (

    select
        runs.*,
        case when runs.is_normalised then '[0,1]' else runs.score_scale end as comparison_scale,
        case when runs.is_normalised then 'maximize' else runs.score_direction end as comparison_direction,
        case
            when runs.is_normalised then runs.final_score
            when runs.score_direction = 'minimize' then -runs.final_score_raw
            else runs.final_score_raw
        end as comparable_score,
        case when runs.is_normalised then runs.improvement else runs.improvement_raw end as comparable_gain
    from fresh
    inner join {{ ref('stg_tracemill__optimization_runs') }} as runs
        on fresh.project_id = runs.project_id
        and fresh.run_id = runs.run_id

),

-- The earliest full evaluation with the score of the program that the run began with, and ended with.
evaluations as (

    select
        runs.project_id,
        runs.run_id,
        min(iterations.iteration) filter (
            where iterations.score_raw = runs.initial_score_raw
        ) as baseline_iteration,
        min(iterations.iteration) filter (
            where iterations.score_raw = runs.final_score_raw
        ) as final_iteration
    from runs
    inner join {{ ref('stg_tracemill__optimization_iterations') }} as iterations
        on runs.project_id = iterations.project_id
        and runs.run_id = iterations.run_id
    where iterations.evaluation_kind = 'full'
    group by runs.project_id, runs.run_id

),

samples as (

    select
        evaluations.project_id,
        evaluations.run_id,
        count(*) as final_sample_count
    from evaluations
    inner join {{ ref('stg_tracemill__optimization_samples') }} as samples
        on evaluations.project_id = samples.project_id
        and evaluations.run_id = samples.run_id
        and evaluations.final_iteration = samples.iteration
    where samples.sample_id is not null and samples.score is not null
    group by evaluations.project_id, evaluations.run_id

),

final as (

    select
        runs.project_id,
        runs.run_id,
        runs.run_version,
        case
            when
                runs.status = 'completed'
                and runs.evaluation_kind = 'full'
                and runs.comparable_score is not null
                and runs.task is not null
                and runs.metric is not null
                and runs.dataset_hash is not null
                then {{ comparison_id() }}
        end as comparison_id,
        runs.run_name,
        runs.optimizer_type,
        runs.model,
        runs.task,
        runs.metric,
        runs.dataset_hash,
        runs.status,
        runs.evaluation_kind,
        runs.score_scale,
        runs.score_direction,
        runs.comparison_scale,
        runs.comparison_direction,
        runs.initial_score_raw,
        runs.final_score_raw,
        runs.initial_score,
        runs.final_score,
        runs.improvement,
        runs.comparable_score,
        runs.comparable_gain,
        runs.iteration_count,
        runs.full_evaluation_count,
        evaluations.baseline_iteration,
        evaluations.final_iteration,
        coalesce(samples.final_sample_count, 0) as final_sample_count,
        runs.sample_count,
        runs.successful_sample_count,
        runs.failed_sample_count,
        runs.duration_ms,
        runs.total_tokens,
        runs.evaluation_tokens,
        runs.optimizer_tokens,
        runs.total_cost_usd,
        runs.is_cost_lower_bound,
        runs.started_at,
        runs.ended_at,
        runs.run_date
    from runs
    left join evaluations
        on runs.project_id = evaluations.project_id
        and runs.run_id = evaluations.run_id
    left join samples
        on runs.project_id = samples.project_id
        and runs.run_id = samples.run_id

)

select * from final
