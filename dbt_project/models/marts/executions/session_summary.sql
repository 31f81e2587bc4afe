{{
    config(
        unique_key=['project_id', 'session_id'],
        meta={'span': ['first_activity_date', 'last_activity_date']},
        indexes=[{'columns': ['last_activity_date', 'project_id']}, {'columns': ['project_id', 'started_at']}],
    )
}}

-- A session may span days: it is summed again from its days when one of them was rebuilt, and so is every session
-- that spans a rebuilt day, in case its rows there are gone.
with

affected as (

    select
        project_id,
        session_id
    from {{ ref('int_session_days') }}
    where {{ date_in_scope('activity_date') }}

    {% if is_incremental() %}
        union distinct

        select
            project_id,
            session_id
        from {{ this }}
        where {{ spanning_rebuilt_days('first_activity_date', 'last_activity_date') }}
    {% else %}
        group by project_id, session_id
    {% endif %}

),

-- Looked up session by session: a night has few of many to look up, which the planner cannot know.
summed as (

    select
        affected.project_id,
        affected.session_id,
        session_days.*
    from affected
    cross join lateral (
        select
            {{ sum_measures() }},
            min(activity_date) as first_activity_date,
            max(activity_date) as last_activity_date,
            min(started_at) as started_at,
            max(ended_at) as ended_at
        from {{ ref('int_session_days') }} as days
        where
            days.project_id = affected.project_id
            and days.session_id = affected.session_id
        group by days.session_id
    ) as session_days

),

final as (

    select
        project_id,
        session_id,
        first_activity_date,
        last_activity_date,
        started_at,
        ended_at,
        {{ list_measures() }},
        round(extract(epoch from ended_at - started_at) * 1000)::bigint as duration_ms,
        {{ outcome_rates() }},
        {{ cache_hit_rate('cached_tokens', 'input_tokens') }} as cache_hit_rate,
        lower_bound_count > 0 as is_cost_lower_bound
    from summed

)

select * from final
