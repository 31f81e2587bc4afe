{%- set part = {
    'source': 'int_optimization_comparisons', 'key': ['project_id', 'comparison_id'], 'version': 'comparison_version',
    'numbered': true, 'condition': 'true',
} -%}
{{
    config(
        unique_key=part['key'],
        meta={'part': part},
        indexes=[
            {'columns': ['project_id', 'comparison_id', 'place']},
            {'columns': ['project_id', 'task', 'metric', 'dataset_hash', 'leaderboard_rank']},
        ],
    )
}}

with

fresh as (

    select * from (
        {{ outdated(part) }}
    ) as outdated_comparisons

),

runs as (

    select
        runs.*,
        fresh.comparison_version
    from fresh
    inner join {{ ref('int_optimization_runs') }} as runs
        on fresh.project_id = runs.project_id
        and fresh.comparison_id = runs.comparison_id

),

ranked as (

    select
        *,
        rank() over (comparison order by comparable_score desc) as leaderboard_rank,
        row_number() over (comparison order by comparable_score desc, started_at asc, run_id asc) as place,
        count(*) over (comparison) as compared_runs,
        count(*) over (partition by project_id, comparison_id, comparable_score) - 1 as tied_runs,
        max(comparable_score) over (comparison) - comparable_score as behind_best
    from runs
    window comparison as (partition by project_id, comparison_id)

),

final as (

    select
        project_id,
        run_id,
        comparison_id,
        task,
        metric,
        dataset_hash,
        comparison_scale as score_scale,
        comparison_direction as score_direction,
        leaderboard_rank,
        place,
        compared_runs,
        tied_runs,
        run_name,
        optimizer_type,
        model,
        case when comparison_direction = 'minimize' then -comparable_score else comparable_score end as score,
        behind_best,
        comparable_gain as score_gain,
        final_score_raw,
        initial_score_raw,
        iteration_count,
        duration_ms,
        total_tokens,
        total_cost_usd,
        is_cost_lower_bound,
        started_at,
        ended_at,
        comparison_version
    from ranked

)

select * from final
