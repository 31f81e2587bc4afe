{{ config(materialized='view') }}

-- How tokens per run differ between a feature at some level and the command's other runs, and whether chance explains
-- it. It is an observation, not a cause: features come together. All numbers come from the window's sketches: a
-- bucket's number is the logarithm of its tokens, so ranks and variances are those of tokens known to 1 %.
with

sketches as (

    select * from {{ ref('int_feature_sketches') }}
    where activity_date is null

),

levels as (

    select
        level_id,
        project_id,
        command_base,
        feature,
        level,
        dense_rank() over (order by project_id, command_base, feature) as feature_number
    from sketches

),

buckets as (

    select
        levels.level_id,
        levels.feature_number,
        part.bucket,
        part.observations
    from sketches
    inner join levels on sketches.level_id = levels.level_id
    cross join lateral unnest(sketches.buckets, sketches.observations) as part (bucket, observations)

),

-- Every execution has one level of a feature or none, so what is not at this level is the feature's sum less it.
feature_totals as (

    select
        feature_number,
        bucket,
        sum(observations)::bigint as observations
    from buckets
    group by feature_number, bucket

),

sides as (

    select
        levels.level_id,
        feature_totals.bucket,
        coalesce(buckets.observations, 0) as here,
        feature_totals.observations - coalesce(buckets.observations, 0) as rest,
        feature_totals.observations as tied
    from levels
    inner join feature_totals on levels.feature_number = feature_totals.feature_number
    left join buckets
        on levels.level_id = buckets.level_id
        and feature_totals.bucket = buckets.bucket

),

accumulated as (

    select
        *,
        (sum(here) over (partition by level_id order by bucket))::bigint as here_so_far,
        (sum(rest) over (partition by level_id order by bucket))::bigint as rest_so_far
    from sides

),

compared as (

    select
        level_id,
        sum(here)::bigint as execution_count,
        sum(rest)::bigint as rest_count,
        array_agg(bucket order by bucket) filter (where here > 0) as here_buckets,
        array_agg(here_so_far order by bucket) filter (where here > 0) as here_counts,
        array_agg(bucket order by bucket) filter (where rest > 0) as rest_buckets,
        array_agg(rest_so_far order by bucket) filter (where rest > 0) as rest_counts,
        -- Pairs in which the run at the level took more tokens; of those that tie, half.
        sum(here * (rest_so_far - rest / 2.0)) as pairs_above,
        sum(tied::numeric * (tied::numeric * tied - 1)) as ties,
        sum(tied::numeric * bucket * bucket) - sum(tied::numeric * bucket) ^ 2 / sum(tied) as variation,
        sum(here::numeric * bucket) ^ 2 / nullif(sum(here), 0)
        + sum(rest::numeric * bucket) ^ 2 / nullif(sum(rest), 0)
        - sum(tied::numeric * bucket) ^ 2 / sum(tied) as explained_variation
    from accumulated
    group by level_id
    having
        sum(here) >= {{ var('driver_min_executions') }}
        and sum(rest) >= {{ var('driver_min_executions') }}

),

here_medians as (

    select
        level_id,
        {{ sketch_quantile(0.5) }} as median_tokens
    from (
        select
            level_id,
            here_buckets as buckets,
            here_counts as running_counts,
            execution_count as total
        from compared
    ) as here

),

rest_medians as (

    select
        level_id,
        {{ sketch_quantile(0.5) }} as median_tokens
    from (
        select
            level_id,
            rest_buckets as buckets,
            rest_counts as running_counts,
            rest_count as total
        from compared
    ) as rest

),

tested as (

    select
        levels.project_id,
        levels.command_base,
        levels.feature,
        levels.level,
        compared.execution_count,
        compared.rest_count,
        round(here_medians.median_tokens)::bigint as median_tokens,
        round(rest_medians.median_tokens)::bigint as rest_median_tokens,
        round(here_medians.median_tokens - rest_medians.median_tokens)::bigint as median_delta_tokens,
        (2 * compared.pairs_above / (compared.execution_count * compared.rest_count) - 1)::double precision
            as effect_size,
        {{ ratio('compared.explained_variation', 'compared.variation') }} as share_of_variance,
        {{ mann_whitney_p('compared.pairs_above', 'compared.execution_count', 'compared.rest_count', 'compared.ties') }}
            as p_value
    from compared
    inner join levels on compared.level_id = levels.level_id
    inner join here_medians on compared.level_id = here_medians.level_id
    inner join rest_medians on compared.level_id = rest_medians.level_id

),

-- Many comparisons find something by chance: q is the share of false findings among those at least as small
-- (Benjamini and Hochberg), over all comparisons of a project.
ordered as (

    select
        *,
        row_number() over (
            partition by project_id
            order by p_value, command_base, feature, level
        ) as place,
        count(*) over (partition by project_id) as comparison_count
    from tested

),

final as (

    select
        project_id,
        command_base,
        feature,
        level,
        execution_count,
        rest_count,
        median_tokens,
        rest_median_tokens,
        median_delta_tokens,
        effect_size,
        share_of_variance,
        p_value,
        least(1, min(p_value * (comparison_count::double precision / place)) over (
            partition by project_id
            order by place desc
        )) as q_value
    from ordered

)

select * from final
