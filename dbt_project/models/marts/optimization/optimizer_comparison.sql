{{
    config(
        incremental_strategy='settle',
        unique_key=['project_id', 'comparison_id', 'optimizer_type', 'compared_with'],
        indexes=[{'columns': ['project_id', 'task', 'metric', 'dataset_hash']}],
    )
}}

-- Every optimizer of a comparison against the program it began with and against every other optimizer there. Pairs are
-- examples of the dataset: their mean scores over the runs of either side.
with

runs as (

    select * from {{ ref('int_optimization_runs') }}
    where comparison_id is not null

),

samples as (

    select * from {{ ref('int_optimizer_sample_scores') }}

),

optimizers as (

    select
        project_id,
        comparison_id,
        task,
        metric,
        dataset_hash,
        comparison_scale as score_scale,
        comparison_direction as score_direction,
        optimizer_type,
        count(*) as run_count,
        sum(comparable_score) * case comparison_direction when 'minimize' then -1 else 1 end as score_sum,
        max(comparable_score) * case comparison_direction when 'minimize' then -1 else 1 end as best_score,
        count(comparable_gain) as gain_runs,
        sum(comparable_gain) as gain_sum,
        sum(total_cost_usd) as total_cost_usd,
        count(*) filter (where total_cost_usd is null or is_cost_lower_bound) as lower_bound_runs,
        sum(total_tokens)::bigint as total_tokens,
        sum(evaluation_tokens)::bigint as evaluation_tokens,
        sum(optimizer_tokens)::bigint as optimizer_tokens,
        sum(comparable_gain) filter (where total_cost_usd is not null) as priced_gain_sum,
        sum(total_cost_usd) filter (where comparable_gain is not null) as gain_cost_usd,
        sum(comparable_gain) filter (where total_tokens is not null) as counted_gain_sum,
        sum(total_tokens) filter (where comparable_gain is not null)::bigint as gain_tokens,
        sum(comparable_gain) filter (where optimizer_tokens is not null) as told_apart_gain_sum,
        sum(optimizer_tokens) filter (where comparable_gain is not null)::bigint as gain_optimizer_tokens
    from runs
    group by
        project_id, comparison_id, task, metric, dataset_hash, comparison_scale, comparison_direction, optimizer_type

),

pairs as (

    select
        project_id,
        comparison_id,
        optimizer_type,
        '(baseline)' as compared_with
    from optimizers

    union all

    select
        one.project_id,
        one.comparison_id,
        one.optimizer_type,
        other.optimizer_type as compared_with
    from optimizers as one
    inner join optimizers as other
        on one.project_id = other.project_id
        and one.comparison_id = other.comparison_id
        and one.optimizer_type <> other.optimizer_type

),

differences as (

    select
        project_id,
        comparison_id,
        optimizer_type,
        '(baseline)' as compared_with,
        baseline_gain_sum / baseline_count as difference
    from samples
    where baseline_count > 0

    union all

    select
        one.project_id,
        one.comparison_id,
        one.optimizer_type,
        other.optimizer_type as compared_with,
        one.final_score_sum / one.final_count - other.final_score_sum / other.final_count as difference
    from samples as one
    inner join samples as other
        on one.project_id = other.project_id
        and one.comparison_id = other.comparison_id
        and one.sample_id = other.sample_id
        and one.optimizer_type <> other.optimizer_type

),

paired as (

    select
        project_id,
        comparison_id,
        optimizer_type,
        compared_with,
        count(*) as shared_samples,
        count(*) filter (where difference > 0) as won_samples,
        count(*) filter (where difference < 0) as lost_samples,
        avg(difference)::double precision as mean_difference,
        case when count(*) >= {{ var('comparison_min_samples') }} then stddev_samp(difference) end::double precision
            as deviation
    from differences
    group by project_id, comparison_id, optimizer_type, compared_with

),

tested as (

    select
        *,
        {{ paired_margin('shared_samples', 'deviation') }} as margin,
        {{ paired_p_value('shared_samples', 'mean_difference', 'deviation') }} as p_value
    from paired

),

-- Benjamini and Hochberg over the questions of a project; two optimizers are one question, in either order.
questions as (

    select
        *,
        row_number() over (partition by project_id order by p_value, comparison_id, optimizer_type, compared_with)
            as place,
        count(*) over (partition by project_id) as question_count
    from tested
    where p_value is not null and (compared_with = '(baseline)' or optimizer_type < compared_with)

),

corrected as (

    select
        project_id,
        comparison_id,
        optimizer_type,
        compared_with,
        -- The factor is exactly 1 for the largest p: p times the count, divided by it again, might be below p.
        min(least(1, p_value * (question_count::double precision / place)))
            over (partition by project_id order by place desc) as q_value
    from questions

),

final as (

    select
        pairs.project_id,
        pairs.comparison_id,
        pairs.optimizer_type,
        pairs.compared_with,
        optimizers.task,
        optimizers.metric,
        optimizers.dataset_hash,
        optimizers.score_scale,
        optimizers.score_direction,
        optimizers.run_count,
        optimizers.score_sum,
        {{ ratio('optimizers.score_sum', 'optimizers.run_count') }} as mean_score,
        optimizers.best_score,
        optimizers.gain_runs,
        optimizers.gain_sum,
        {{ ratio('optimizers.gain_sum', 'optimizers.gain_runs') }} as mean_gain,
        optimizers.total_cost_usd,
        optimizers.lower_bound_runs,
        optimizers.total_tokens,
        optimizers.evaluation_tokens,
        optimizers.optimizer_tokens,
        {{ ratio('optimizers.priced_gain_sum', 'optimizers.gain_cost_usd') }} as gain_per_usd,
        1000 * {{ ratio('optimizers.counted_gain_sum', 'optimizers.gain_tokens') }} as gain_per_thousand_tokens,
        1000 * {{ ratio('optimizers.told_apart_gain_sum', 'optimizers.gain_optimizer_tokens') }}
            as gain_per_thousand_optimizer_tokens,
        coalesce(tested.shared_samples, 0) as shared_samples,
        coalesce(tested.won_samples, 0) as won_samples,
        coalesce(tested.lost_samples, 0) as lost_samples,
        tested.mean_difference,
        tested.mean_difference - tested.margin as difference_low,
        tested.mean_difference + tested.margin as difference_high,
        tested.p_value,
        corrected.q_value,
        corrected.q_value < 0.05 as is_significant
    from pairs
    inner join optimizers
        on pairs.project_id = optimizers.project_id
        and pairs.comparison_id = optimizers.comparison_id
        and pairs.optimizer_type = optimizers.optimizer_type
    left join tested
        on pairs.project_id = tested.project_id
        and pairs.comparison_id = tested.comparison_id
        and pairs.optimizer_type = tested.optimizer_type
        and pairs.compared_with = tested.compared_with
    left join corrected
        on tested.project_id = corrected.project_id
        and tested.comparison_id = corrected.comparison_id
        and (
            (tested.optimizer_type = corrected.optimizer_type and tested.compared_with = corrected.compared_with)
            or (tested.optimizer_type = corrected.compared_with and tested.compared_with = corrected.optimizer_type)
        )

)

select * from final
