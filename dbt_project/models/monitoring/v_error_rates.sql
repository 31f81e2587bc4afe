-- A timeout is an error too. Few runs do not hide a scenario: the interval says how little they prove.
with

counted as (

    select
        project_id,
        activity_date,
        scenario_id,
        count(*) as total_runs,
        count(*) filter (where status = 'error') as error_count,
        count(*) filter (where status = 'timeout') as timeout_count,
        count(*) filter (where status = 'cancelled') as cancelled_count
    from {{ ref('stg_tracemill__outcomes') }}
    where executed_at > now() - interval '7 days'
    group by project_id, activity_date, scenario_id

),

final as (

    select
        project_id,
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
