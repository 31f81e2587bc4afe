-- Responses, tokens and cost by format add up to those of the raw requests, day by day, what no response explains
-- included, and the day's executions are counted whole.
{%- set measures = ['request_count', 'total_tokens', 'cost_usd'] %}

with

requests as (

    select
        project_id,
        activity_date,
        (kind = 'response')::integer as request_count,
        total_tokens,
        cost_usd
    from {{ ref('stg_tracemill__model_requests') }}
    where {{ time_to_check('requested_at') }}

),

formats as (

    select
        project_id,
        activity_date,
        request_count,
        total_tokens + unexplained_tokens as total_tokens,
        coalesce(cost_usd, 0) + coalesce(unexplained_cost_usd, 0) as cost_usd
    from {{ ref('source_reconciliation') }}
    where {{ date_to_check('activity_date') }}

),

expected as ({{ summed_by_day('requests', measures, 'true') }}),

measured as ({{ summed_by_day('formats', measures, 'true') }}),

executions as (

    select
        project_id,
        activity_date,
        1 as execution_count
    from {{ ref('stg_tracemill__command_executions') }}
    where {{ time_to_check('started_at') }}

),

days as (

    select
        project_id,
        activity_date,
        max(day_execution_count) as execution_count
    from {{ ref('source_reconciliation') }}
    where {{ date_to_check('activity_date') }}
    group by project_id, activity_date

),

expected_executions as ({{ summed_by_day('executions', ['execution_count'], 'true') }}),

measured_executions as ({{ summed_by_day('days', ['execution_count'], 'true') }}),

different as (

    select
        project_id,
        activity_date
    from ({{ differences('measured', 'expected', measures) }}) as request_differences

    union all

    select
        project_id,
        activity_date
    from ({{ differences('measured_executions', 'expected_executions', ['execution_count']) }}) as execution_differences

)

select * from different
