-- Calls, errors, time and cost by tool are those of the raw tool usage, day by day, and the sketches hold every call
-- that has a duration.
{%- set measures = ['call_count', 'error_count', 'duration_ms', 'cost_usd', 'sketched_count'] %}

with

calls as (

    select
        project_id,
        activity_date,
        1 as call_count,
        (status = 'error')::integer as error_count,
        duration_ms,
        cost_usd,
        (duration_ms is not null)::integer as sketched_count
    from {{ ref('stg_tracemill__tool_usage') }}
    where {{ time_to_check('executed_at') }}

),

tool_days as (

    select
        *,
        (select sum(part.calls) from unnest(duration_observations) as part (calls)) as sketched_count
    from {{ ref('int_tool_days') }}
    where {{ date_to_check('activity_date') }}

),

expected as ({{ summed_by_day('calls', measures, 'true') }}),

measured as ({{ summed_by_day('tool_days', measures, 'true') }}),

different as ({{ differences('measured', 'expected', measures) }})

select * from different
