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

summed as (

    select
        session_days.project_id,
        session_days.session_id,
        {{ sum_measures() }},
        min(session_days.activity_date) as first_activity_date,
        max(session_days.activity_date) as last_activity_date,
        min(session_days.started_at) as started_at,
        max(session_days.ended_at) as ended_at
    from affected
    inner join {{ ref('int_session_days') }} as session_days
        on affected.project_id = session_days.project_id
        and affected.session_id = session_days.session_id
    group by session_days.project_id, session_days.session_id

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
