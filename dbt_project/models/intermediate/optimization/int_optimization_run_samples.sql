{%- set part = {
    'source': 'int_optimization_runs', 'key': ['project_id', 'run_id'], 'version': 'run_version',
    'numbered': true, 'condition': 'comparison_id is not null and final_sample_count > 0',
} -%}
{{
    config(
        unique_key=part['key'],
        meta={'part': part},
        indexes=[
            {'columns': ['project_id', 'run_id', 'sample_id'], 'unique': true},
            {'columns': ['place', 'project_id', 'run_id', 'run_version']},
            {'columns': ['comparison_id']},
        ],
    )
}}

with

fresh as (

    select * from (
        {{ outdated(part) }}
    ) as outdated_runs

),

runs as (

    select runs.*
    from fresh
    inner join {{ ref('int_optimization_runs') }} as runs
        on fresh.project_id = runs.project_id
        and fresh.run_id = runs.run_id

),

-- A dataset may hold an example twice: its score is then the mean.
scored as (

    select
        runs.project_id,
        runs.run_id,
        samples.sample_id,
        avg(samples.score) filter (where samples.iteration = runs.baseline_iteration) as baseline_score,
        avg(samples.score) filter (where samples.iteration = runs.final_iteration) as final_score
    from runs
    inner join {{ ref('stg_tracemill__optimization_samples') }} as samples
        on runs.project_id = samples.project_id
        and runs.run_id = samples.run_id
        and samples.iteration in (runs.baseline_iteration, runs.final_iteration)
    where samples.sample_id is not null and samples.score is not null
    group by runs.project_id, runs.run_id, samples.sample_id

),

final as (

    select
        runs.project_id,
        runs.run_id,
        runs.run_version,
        row_number() over (
            partition by runs.project_id, runs.run_id
            order by scored.sample_id
        ) as place,
        runs.comparison_id,
        runs.optimizer_type,
        scored.sample_id,
        scored.baseline_score,
        scored.final_score
    from runs
    inner join scored
        on runs.project_id = scored.project_id
        and runs.run_id = scored.run_id
    where scored.final_score is not null

)

select * from final
