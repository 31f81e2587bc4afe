{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['project_id', 'config_version_id', 'tool_name']},
        ],
    )
}}

-- Two and three calls in a row within one outcome.
with

calls as (

    select
        tool_usage.project_id,
        outcomes.config_version_id,
        tool_usage.activity_date,
        tool_usage.outcome_id,
        outcomes.is_reliable,
        tool_usage.tool_name,
        lead(tool_usage.tool_name, 1) over following as second_tool,
        lead(tool_usage.tool_name, 2) over following as third_tool
    from {{ ref('stg_tracemill__tool_usage') }} as tool_usage
    inner join {{ ref('int_version_outcomes') }} as outcomes
        on tool_usage.project_id = outcomes.project_id
        and tool_usage.outcome_id = outcomes.outcome_id
        and tool_usage.executed_at = outcomes.executed_at
    where {{ in_scope('tool_usage.executed_at') }} and {{ in_scope('outcomes.executed_at') }}
    window following as (
        partition by tool_usage.project_id, tool_usage.outcome_id
        order by tool_usage.call_number
    )

),

sequences as (

    select
        project_id,
        config_version_id,
        activity_date,
        outcome_id,
        is_reliable,
        tool_name,
        array[tool_name, second_tool] as tool_sequence
    from calls
    where second_tool is not null

    union all

    select
        project_id,
        config_version_id,
        activity_date,
        outcome_id,
        is_reliable,
        tool_name,
        array[tool_name, second_tool, third_tool] as tool_sequence
    from calls
    where third_tool is not null

),

final as (

    select
        project_id,
        config_version_id,
        activity_date,
        tool_name,
        tool_sequence,
        count(*) as occurrence_count,
        count(distinct outcome_id) as outcome_count,
        count(distinct outcome_id) filter (where is_reliable) as passed_outcome_count,
        count(distinct outcome_id) filter (where not is_reliable) as failed_outcome_count
    from sequences
    group by project_id, config_version_id, activity_date, tool_name, tool_sequence

)

select * from final
