{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['project_id', 'config_version_id', 'tool_name', 'activity_date'], 'unique': true},
        ],
    )
}}

-- Everything is counted by bucket of duration first and added up then: two aggregates joined to each other would be
-- joined row by row, for nobody can estimate how many there are.
with

calls as (

    select
        outcomes.config_version_id,
        outcomes.is_reliable,
        tool_usage.*,
        case when tool_usage.duration_ms is not null then {{ sketch_bucket('tool_usage.duration_ms') }} end as bucket,
        row_number() over (
            partition by tool_usage.project_id, tool_usage.outcome_id, tool_usage.tool_name
            order by tool_usage.call_number
        ) = 1 as is_first_of_outcome
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
        bucket,
        count(*) as call_count,
        count(*) filter (where status = 'ok') as ok_count,
        count(*) filter (where status = 'error') as error_count,
        count(*) filter (where status = 'unanswered') as unanswered_count,
        count(*) filter (where is_first_of_outcome) as outcome_count,
        count(*) filter (where is_first_of_outcome and is_reliable) as passed_outcome_count,
        count(*) filter (where is_first_of_outcome and not is_reliable) as failed_outcome_count,
        count(duration_ms) as timed_count,
        sum(duration_ms) as duration_ms,
        count(cost_usd) as costed_count,
        sum(cost_usd) as cost_usd
    from calls
    group by project_id, config_version_id, tool_name, activity_date, bucket

),

final as (

    select
        project_id,
        config_version_id,
        tool_name,
        activity_date,
        {% for measure in [
            'call_count', 'ok_count', 'error_count', 'unanswered_count', 'outcome_count', 'passed_outcome_count',
            'failed_outcome_count', 'timed_count', 'costed_count',
        ] -%}
            sum({{ measure }})::bigint as {{ measure }},
        {% endfor -%}
        sum(duration_ms) as duration_ms,
        sum(cost_usd) as cost_usd,
        array_agg(bucket order by bucket) filter (where bucket is not null) as duration_buckets,
        array_agg(timed_count::integer order by bucket) filter (where bucket is not null) as duration_observations
    from bucketed
    group by project_id, config_version_id, tool_name, activity_date

)

select * from final
