-- Tool uses, errors and time are those of the raw tool calls, day by day.
{%- set measures = ['call_count', 'error_count', 'duration_ms'] %}

with

calls as (

    select
        project_id,
        activity_date,
        1 as call_count,
        (status = 'error')::integer as error_count,
        duration_ms
    from {{ ref('stg_tracemill__tool_calls') }}
    where {{ time_to_check('called_at') }}

),

expected as ({{ summed_by_day('calls', measures, 'true') }}),

measured as (
    {{ summed_by_day(ref('tool_usage_daily'), measures, date_to_check('activity_date')) }}
),

different as ({{ differences('measured', 'expected', measures) }})

select * from different
