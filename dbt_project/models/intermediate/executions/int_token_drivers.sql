{{ config(materialized='view') }}

-- What the median run costs in tokens with a feature at some level, and without: the difference of medians within
-- one command. It is an observation, not a cause: features come together.
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
        sum(observations)::integer as observations
    from buckets
    group by feature_number, bucket

),

sides as (

    select
        level_id,
        true as is_level,
        bucket,
        observations
    from buckets

    union all

    select
        levels.level_id,
        false as is_level,
        feature_totals.bucket,
        feature_totals.observations - coalesce(buckets.observations, 0) as observations
    from levels
    inner join feature_totals on levels.feature_number = feature_totals.feature_number
    left join buckets
        on levels.level_id = buckets.level_id
        and feature_totals.bucket = buckets.bucket

),

ranked as (

    select
        level_id,
        is_level,
        bucket,
        sum(observations) over (
            partition by level_id, is_level
            order by bucket
        ) as running_count
    from sides
    where observations > 0

),

arrays as (

    select
        level_id,
        is_level,
        {{ sketch_arrays() }}
    from ranked
    group by level_id, is_level

),

medians as (

    select
        level_id,
        is_level,
        total as execution_count,
        {{ sketch_quantile(0.5) }} as median_tokens
    from arrays

),

final as (

    select
        levels.project_id,
        levels.command_base,
        levels.feature,
        levels.level,
        here.execution_count,
        rest.execution_count as rest_count,
        round(here.median_tokens)::bigint as median_tokens,
        round(rest.median_tokens)::bigint as rest_median_tokens,
        round(here.median_tokens - rest.median_tokens)::bigint as median_delta_tokens
    from levels
    inner join medians as here on levels.level_id = here.level_id and here.is_level
    inner join medians as rest on levels.level_id = rest.level_id and not rest.is_level
    where
        here.execution_count >= {{ var('driver_min_executions') }}
        and rest.execution_count >= {{ var('driver_min_executions') }}

)

select * from final
