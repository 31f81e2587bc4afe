-- The sketches count each execution once, day by day, and the window's sketch is the sum of its days.
{%- set measures = ['execution_count'] %}

with

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

sketches as (

    select * from {{ ref('int_pattern_sketches') }}
    where metric = 'tokens'

),

measured as (

    select
        project_id,
        activity_date,
        sum(total) as execution_count
    from sketches
    where {{ date_to_check('activity_date') }} and activity_date is not null
    group by project_id, activity_date

),

expected as (

    select
        project_id,
        activity_date,
        sum(execution_count) as execution_count
    from {{ ref('int_pattern_days') }}
    where
        {{ date_to_check('activity_date') }}
        and activity_date >= (select bounds.window_start from bounds)
        and activity_date <= (select bounds.window_end from bounds)
    group by project_id, activity_date

),

daily_differences as ({{ differences('measured', 'expected', measures) }}),

window_differences as (

    select
        patterns.project_id,
        patterns.window_end as activity_date
    from {{ ref('command_patterns') }} as patterns
    left join sketches on patterns.id = sketches.pattern_id and sketches.activity_date is null
    where patterns.execution_count <> coalesce(sketches.total, 0)

)

select
    project_id,
    activity_date
from daily_differences

union all

select
    project_id,
    activity_date
from window_differences
