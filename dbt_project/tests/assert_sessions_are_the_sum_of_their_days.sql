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
        session_days.project_id,
        session_days.session_id,
        sum(session_days.execution_count) as execution_count,
        sum(session_days.total_tokens) as total_tokens,
        sum(session_days.cost_usd) as cost_usd
    from active
    inner join {{ ref('int_session_days') }} as session_days
        on active.project_id = session_days.project_id
        and active.session_id = session_days.session_id
    group by session_days.project_id, session_days.session_id

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
