-- A session that was active on a checked day holds exactly what all its days hold.
with

active as (

    select distinct
        project_id,
        session_id
    from {{ ref('int_session_days') }}
    where {{ date_to_check('activity_date') }}

),

expected as (

    select
        active.project_id,
        active.session_id,
        session_days.execution_count,
        session_days.total_tokens,
        session_days.cost_usd
    from active
    cross join lateral (
        select
            sum(days.execution_count) as execution_count,
            sum(days.total_tokens) as total_tokens,
            sum(days.cost_usd) as cost_usd
        from {{ ref('int_session_days') }} as days
        where
            days.project_id = active.project_id
            and days.session_id = active.session_id
    ) as session_days

)

select
    expected.project_id,
    expected.session_id
from expected
left join {{ ref('session_summary') }} as sessions
    on expected.project_id = sessions.project_id
    and expected.session_id = sessions.session_id
where
    expected.execution_count is distinct from sessions.execution_count
    or expected.total_tokens is distinct from sessions.total_tokens
    or expected.cost_usd is distinct from sessions.cost_usd
