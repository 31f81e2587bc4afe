-- What the requests of a day's commands add up to is what the executions say they used.
{%- set measures = ['total_tokens', 'input_tokens', 'output_tokens', 'cost_usd'] %}

with

expected as (
    {{ summed_by_day(ref('stg_tracemill__command_executions'), measures, time_to_check('started_at') ~ ' and total_tokens > 0') }}
),

measured as (
    {{ summed_by_day(ref('command_costs'), measures, date_to_check('activity_date') ~ ' and total_tokens > 0') }}
),

different as ({{ differences('measured', 'expected', measures) }})

select * from different
