{%- set part = {
    'source': 'int_optimization_runs', 'key': ['project_id', 'run_id'], 'version': 'run_version',
    'numbered': true, 'condition': 'iteration_count > 0',
} -%}
{{
    config(
        unique_key=part['key'],
        meta={'part': part},
        indexes=[{'columns': ['place', 'project_id', 'run_id', 'run_version']}],
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

iterations as (

    select
        runs.run_version,
        runs.run_date,
        runs.optimizer_type,
        runs.initial_score,
        runs.initial_score_raw,
        iterations.*,
        case when iterations.score_direction = 'minimize' then -iterations.score_raw else iterations.score_raw end
            as directed_score
    from runs
    inner join {{ ref('stg_tracemill__optimization_iterations') }} as iterations
        on runs.project_id = iterations.project_id
        and runs.run_id = iterations.run_id

),

cumulated as (

    select
        *,
        row_number() over so_far as place,
        count(*) filter (where evaluation_kind = 'full') over so_far as full_evaluations_so_far,
        max(score) filter (where evaluation_kind = 'full') over so_far as best_score,
        max(directed_score) filter (where evaluation_kind = 'full') over so_far as best_directed_score,
        max(directed_score) filter (where evaluation_kind = 'full') over before_it as earlier_best_directed_score,
        max(score) filter (where evaluation_kind = 'minibatch') over so_far as best_minibatch_score,
        sum(tokens) over so_far as tokens_so_far,
        sum(cost_usd) over so_far as cost_so_far_usd,
        count(*) over so_far - count(cost_usd) over so_far as unpriced_so_far,
        sum(duration_ms) over so_far as duration_so_far_ms
    from iterations
    window
        so_far as (partition by project_id, run_id order by iteration),
        before_it as (
            partition by project_id, run_id order by iteration
            rows between unbounded preceding and 1 preceding
        )

),

final as (

    select
        project_id,
        run_id,
        iteration,
        place,
        run_date,
        optimizer_type,
        evaluation_kind,
        score,
        score_raw,
        full_evaluations_so_far,
        best_score,
        case when score_direction = 'minimize' then -best_directed_score else best_directed_score end
            as best_score_raw,
        best_minibatch_score,
        coalesce(
            evaluation_kind = 'full'
            and directed_score is not null
            and (earlier_best_directed_score is null or directed_score > earlier_best_directed_score),
            false
        ) as is_new_best,
        best_score - initial_score as gain_so_far,
        best_directed_score
        - case when score_direction = 'minimize' then -initial_score_raw else initial_score_raw end
            as gain_so_far_raw,
        tokens as iteration_tokens,
        tokens_so_far::bigint as tokens_so_far,
        cost_usd as iteration_cost_usd,
        cost_so_far_usd,
        unpriced_so_far,
        duration_so_far_ms::bigint as duration_so_far_ms,
        metric_calls_so_far,
        {{ ratio('best_score - initial_score', 'cost_so_far_usd') }} as gain_per_usd,
        1000 * {{ ratio('best_score - initial_score', 'tokens_so_far') }} as gain_per_thousand_tokens,
        run_version
    from cumulated

)

select * from final
