{{ config(materialized='view') }}

-- What the median run costs in tokens with a feature at some level, and without: the difference of medians within
-- one command. It is an observation, not a cause: features come together.
with

sketches as (

    select * from {{ ref('int_feature_sketches') }}
    where activity_date is null

),

-- Every execution has one level of a feature or none, so what is not at this level is the feature's sum less it.
feature_totals as (

    select
        project_id,
        command_base,
        feature,
        bucket,
        sum(observations) as observations
    from sketches
    group by project_id, command_base, feature, bucket

),

feature_levels as (

    select distinct
        project_id,
        command_base,
        feature,
        level
    from sketches

),

sides as (

    select
        project_id,
        command_base,
        feature,
        level,
        true as is_level,
        bucket,
        observations
    from sketches

    union all

    select
        feature_levels.project_id,
        feature_levels.command_base,
        feature_levels.feature,
        feature_levels.level,
        false as is_level,
        feature_totals.bucket,
        feature_totals.observations - coalesce(sketches.observations, 0) as observations
    from feature_levels
    inner join feature_totals
        on feature_levels.project_id = feature_totals.project_id
        and feature_levels.command_base = feature_totals.command_base
        and feature_levels.feature = feature_totals.feature
    left join sketches
        on feature_levels.project_id = sketches.project_id
        and feature_levels.command_base = sketches.command_base
        and feature_levels.feature = sketches.feature
        and feature_levels.level = sketches.level
        and feature_totals.bucket = sketches.bucket

),

ranked as (

    select
        project_id,
        command_base,
        feature,
        level,
        is_level,
        {{ sketch_value('bucket') }} as estimate,
        sum(observations) over (
            partition by project_id, command_base, feature, level, is_level
            order by bucket
        ) as running_count,
        sum(observations) over (partition by project_id, command_base, feature, level, is_level) as total
    from sides
    where observations > 0

),

medians as (

    select
        project_id,
        command_base,
        feature,
        level,
        is_level,
        max(total)::bigint as execution_count,
        {{ sketch_quantile(0.5) }} as median_tokens
    from ranked
    group by project_id, command_base, feature, level, is_level

),

final as (

    select
        project_id,
        command_base,
        feature,
        level,
        max(execution_count) filter (where is_level) as execution_count,
        max(execution_count) filter (where not is_level) as rest_count,
        max(median_tokens) filter (where is_level) as median_tokens,
        max(median_tokens) filter (where not is_level) as rest_median_tokens
    from medians
    group by project_id, command_base, feature, level

)

select
    project_id,
    command_base,
    feature,
    level,
    execution_count,
    rest_count,
    round(median_tokens)::bigint as median_tokens,
    round(rest_median_tokens)::bigint as rest_median_tokens,
    round(median_tokens - rest_median_tokens)::bigint as median_delta_tokens
from final
where execution_count >= {{ var('driver_min_executions') }} and rest_count >= {{ var('driver_min_executions') }}
