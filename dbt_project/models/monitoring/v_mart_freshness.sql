-- Tables with a date of their own, the raw rows they should have, and the days that still wait. Everybody sees the
-- rows of the projects they may see: the policies of the tables hold.
{%- set marts = [
    'daily_command_stats', 'command_costs', 'cache_effectiveness', 'model_usage_daily', 'hourly_token_usage',
    'project_spend_daily', 'tool_usage_daily',
] %}

with

{% for mart in marts -%}
    {{ mart }} as (

        select
            '{{ mart }}' as mart,
            project_id,
            max(activity_date) as last_activity_date
        from {{ ref(mart) }}
        group by project_id

    ),

{% endfor -%}

session_summary as (

    select
        'session_summary' as mart,
        project_id,
        max(last_activity_date) as last_activity_date
    from {{ ref('session_summary') }}
    group by project_id

),

command_patterns as (

    select
        'command_patterns' as mart,
        project_id,
        max(last_seen_date) as last_activity_date
    from {{ ref('command_patterns') }}
    group by project_id

),

marts as (

    {% for mart in marts + ['session_summary'] -%}
        select * from {{ mart }}
        union all
    {% endfor -%}
    select * from command_patterns

),

waiting as (

    select
        project_id,
        count(*) as waiting_days,
        min(activity_date) as first_waiting_date,
        min(touched_at) as waiting_since
    from {{ ref('stg_tracemill__touched_days') }}
    group by project_id

),

refreshes as (

    select max(finished_at) as last_refreshed_at
    from {{ ref('stg_tracemill__refresh_log') }}
    where status = 'succeeded' and scope = 'all'

),

final as (

    select
        marts.mart,
        marts.project_id,
        marts.last_activity_date,
        refreshes.last_refreshed_at,
        now() - refreshes.last_refreshed_at as age,
        coalesce(waiting.waiting_days, 0) as waiting_days,
        waiting.first_waiting_date,
        waiting.waiting_since,
        coalesce(waiting.waiting_days, 0) = 0 as is_current
    from marts
    cross join refreshes
    left join waiting on marts.project_id = waiting.project_id

)

select * from final
