{%- set part = {
    'source': 'int_optimization_comparisons', 'key': ['project_id', 'comparison_id'], 'version': 'comparison_version',
    'numbered': true, 'condition': 'final_sample_count > 0',
} -%}
{{
    config(
        unique_key=part['key'],
        meta={'part': part},
        indexes=[{'columns': ['comparison_id', 'place']}],
    )
}}

with

fresh as (

    select * from (
        {{ outdated(part) }}
    ) as outdated_comparisons

),

summed as (

    select
        samples.project_id,
        samples.comparison_id,
        fresh.comparison_version,
        samples.optimizer_type,
        samples.sample_id,
        count(*) as final_count,
        sum(samples.final_score) as final_score_sum,
        count(samples.baseline_score) as baseline_count,
        sum(samples.final_score - samples.baseline_score) as baseline_gain_sum
    from fresh
    inner join {{ ref('int_optimization_run_samples') }} as samples
        on fresh.project_id = samples.project_id
        and fresh.comparison_id = samples.comparison_id
    group by
        samples.project_id, samples.comparison_id, fresh.comparison_version, samples.optimizer_type, samples.sample_id

),

final as (

    select
        project_id,
        comparison_id,
        comparison_version,
        row_number() over (
            partition by project_id, comparison_id
            order by optimizer_type, sample_id
        ) as place,
        optimizer_type,
        sample_id,
        final_count,
        final_score_sum,
        baseline_count,
        baseline_gain_sum
    from summed

)

select * from final
