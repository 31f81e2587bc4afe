-- A timeout is an error too. Few runs do not hide a scenario: the interval says how little they prove.
-- A project at rest keeps its last week: the mart knows how it ended, raw knows what the mart has not got yet.
-- A clock that is ahead does not move the window.
with

active_days as (

    select
        project_id,
        activity_date
    from {{ ref('error_rates_daily') }}
    union all
    select
        project_id,
        activity_date
    from {{ ref('stg_tracemill__outcomes') }}
    where executed_at >= date_trunc('day', now(), 'UTC') - interval '6 days'

),

windows as (

    select
        project_id,
        max(activity_date) as window_end_date
    from active_days
    where activity_date <= (now() at time zone 'UTC')::date
    group by project_id

),

counted as (

    select
        windows.project_id,
        windows.window_end_date,
        outcomes.activity_date,
        outcomes.scenario_id,
        outcomes.total_runs,
        outcomes.error_count,
        outcomes.timeout_count,
        outcomes.cancelled_count
    from windows
    cross join lateral (
        select
            activity_date,
            scenario_id,
            count(*) as total_runs,
            count(*) filter (where status = 'error') as error_count,
            count(*) filter (where status = 'timeout') as timeout_count,
            count(*) filter (where status = 'cancelled') as cancelled_count
        from {{ ref('stg_tracemill__outcomes') }}
        where
            project_id = windows.project_id
            and executed_at >= (windows.window_end_date - 6)::timestamp at time zone 'UTC'
            and executed_at < (windows.window_end_date + 1)::timestamp at time zone 'UTC'
        group by activity_date, scenario_id
    ) as outcomes

),

final as (

    select
        project_id,
        window_end_date,
        activity_date,
        scenario_id,
        total_runs,
        error_count,
        timeout_count,
        cancelled_count,
        100 * {{ ratio('error_count + timeout_count', 'total_runs') }} as error_rate_pct,
        100 * {{ wilson_low('(error_count + timeout_count)', 'total_runs') }} as error_rate_pct_low,
        100 * {{ wilson_high('(error_count + timeout_count)', 'total_runs') }} as error_rate_pct_high
    from counted

)

select * from final
