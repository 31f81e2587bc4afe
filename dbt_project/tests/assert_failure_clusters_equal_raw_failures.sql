-- Clusters hold every raw failure once, and share out all that failed attempts cost, to a billionth of a dollar.
{%- set measures = ['failure_count', 'recovered_count', 'wasted_cost_usd'] %}

with

parts as (

    select
        project_id,
        activity_date,
        1 as failure_count,
        recovery_successful::integer as recovered_count,
        null::numeric as wasted_cost_usd
    from {{ ref('stg_tracemill__failure_patterns') }}
    where {{ time_to_check('executed_at') }}

    union all

    select
        project_id,
        activity_date,
        0 as failure_count,
        0 as recovered_count,
        cost_usd as wasted_cost_usd
    from {{ ref('stg_tracemill__outcomes') }}
    where not is_reliable and {{ time_to_check('executed_at') }}

),

summed as ({{ summed_by_day('parts', measures, 'true') }}),

clusters as ({{ summed_by_day(ref('int_failure_days'), measures, date_to_check('activity_date')) }}),

different as ({{ differences('clusters', 'summed', measures, tolerance='0.000000001') }})

select * from different
