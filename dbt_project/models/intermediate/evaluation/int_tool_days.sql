{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['project_id', 'config_version_id', 'tool_name', 'activity_date'], 'unique': true},
        ],
    )
}}

with

calls as (

    select
        outcomes.config_version_id,
        outcomes.is_reliable,
        tool_usage.*
    from {{ ref('stg_tracemill__tool_usage') }} as tool_usage
    inner join {{ ref('int_version_outcomes') }} as outcomes
        on tool_usage.project_id = outcomes.project_id
        and tool_usage.outcome_id = outcomes.outcome_id
        and tool_usage.executed_at = outcomes.executed_at
    where {{ in_scope('tool_usage.executed_at') }} and {{ in_scope('outcomes.executed_at') }}

),

bucketed as (

    select
        project_id,
        config_version_id,
        tool_name,
        activity_date,
        {{ sketch_bucket('duration_ms') }} as bucket,
        count(*)::integer as observations
    from calls
    where duration_ms is not null
    group by project_id, config_version_id, tool_name, activity_date, bucket

),

sketches as (

    select
        project_id,
        config_version_id,
        tool_name,
        activity_date,
        array_agg(bucket order by bucket) as duration_buckets,
        array_agg(observations order by bucket) as duration_observations
    from bucketed
    group by project_id, config_version_id, tool_name, activity_date

),

summed as (

    select
        project_id,
        config_version_id,
        tool_name,
        activity_date,
        count(*) as call_count,
        count(*) filter (where status = 'ok') as ok_count,
        count(*) filter (where status = 'error') as error_count,
        count(*) filter (where status = 'unanswered') as unanswered_count,
        count(distinct outcome_id) as outcome_count,
        count(distinct outcome_id) filter (where is_reliable) as passed_outcome_count,
        count(distinct outcome_id) filter (where not is_reliable) as failed_outcome_count,
        count(duration_ms) as timed_count,
        sum(duration_ms) as duration_ms,
        count(cost_usd) as costed_count,
        sum(cost_usd) as cost_usd
    from calls
    group by project_id, config_version_id, tool_name, activity_date

),

final as (

    select
        summed.*,
        sketches.duration_buckets,
        sketches.duration_observations
    from summed
    left join sketches
        on summed.project_id = sketches.project_id
        and summed.config_version_id = sketches.config_version_id
        and summed.tool_name = sketches.tool_name
        and summed.activity_date = sketches.activity_date

)

select * from final
