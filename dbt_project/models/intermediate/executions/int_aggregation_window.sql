{{ config(incremental_predicates=['true']) }}

-- The window only moves forward, with the days that an aggregation covers, idle ones included. A clock that runs
-- ahead must not carry it into the future, where it would hold nothing.
with

candidates as (

    select max(activity_date) as last_date
    from {{ aggregation_days() }}
    where activity_date <= (now() at time zone 'UTC')::date + 1

    union all

    {% if is_incremental() %}
        select window_end as last_date
        from {{ this }}
    {% else %}
        select max(activity_date) as last_date
        from {{ ref('stg_tracemill__command_executions') }}
        where started_at < date_trunc('day', now(), 'UTC') + interval '2 days'

        union all

        select max(last_date) as last_date
        from {{ ref('stg_tracemill__refresh_log') }}
        where status = 'succeeded' and scope = 'all' and last_date <= (now() at time zone 'UTC')::date + 1
    {% endif %}

),

final as (

    select
        max(last_date) - ({{ var('window_days') }} - 1) as window_start,
        max(last_date) as window_end
    from candidates

)

select * from final
