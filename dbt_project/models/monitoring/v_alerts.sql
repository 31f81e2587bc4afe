-- One CTE per condition, all of the same columns. Those of a project are computed from rows that their reader may see;
-- those of the platform (macro platform_alerts) have no project and are for operators only.
{% set hours_of = "extract(epoch from {}) / 3600" %}

with

projects as (

    select
        project_id,
        {% for name in ['silence_factor', 'quarantine_rate', 'cost_spike_factor', 'error_rate'] -%}
            {{ project_threshold(name) }} as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from {{ ref('stg_tracemill__projects') }}

),

recent_executions as (

    select
        project_id,
        status,
        started_at
    from {{ ref('stg_tracemill__command_executions') }}
    where started_at > now() - interval '28 days' and started_at <= now()

),

-- The longest gap but one of the last four weeks is usual; the longest may have been a holiday. A project that was
-- quiet for so long that no habit is left has none to break.
gaps as (

    select
        project_id,
        hour_at,
        last_at,
        {{ hours_of.format('hour_at - lag(hour_at) over (partition by project_id order by hour_at)') }} as gap_hours
    from (
        select
            project_id,
            date_trunc('hour', started_at, 'UTC') as hour_at,
            max(started_at) as last_at
        from recent_executions
        group by project_id, date_trunc('hour', started_at, 'UTC')
    ) as active_hours

),

habits as (

    select
        project_id,
        max(last_at) as last_activity_at,
        count(distinct date_trunc('day', hour_at, 'UTC')) as active_days,
        (array_agg(gap_hours order by gap_hours desc nulls last))[2] as usual_gap_hours,
        {{ hours_of.format('now() - max(last_at)') }} as silent_hours
    from gaps
    group by project_id

),

silence as (

    select
        'silence' as alert,
        'warning' as severity,
        projects.project_id,
        'executions' as subject,
        format(
            'Nothing has come for %s hours; gaps of up to %s hours are usual.',
            round(habits.silent_hours), round(habits.usual_gap_hours)
        ) as summary,
        jsonb_build_object(
            'last_activity_at', habits.last_activity_at, 'silent_hours', round(habits.silent_hours, 1),
            'usual_gap_hours', round(habits.usual_gap_hours, 1), 'factor', projects.silence_factor,
            'active_days', habits.active_days
        ) as evidence,
        'tracemill doctor' as command
    from projects
    inner join habits on projects.project_id = habits.project_id
    where
        habits.active_days >= {{ var('alert_silence_min_days') }}
        and habits.silent_hours > {{ var('alert_silence_min_hours') }}
        and habits.silent_hours > projects.silence_factor * habits.usual_gap_hours

),

refreshes as (

    select max(finished_at) as last_refreshed_at
    from {{ ref('stg_tracemill__refresh_log') }}
    where status = 'succeeded'

),

stale_mart as (

    select
        'stale_mart' as alert,
        'critical' as severity,
        project_id,
        'marts' as subject,
        format(
            '%s days wait to be aggregated, the first (%s) for %s hours.',
            count(*), min(activity_date), round({{ hours_of.format('now() - min(touched_at)') }})
        ) as summary,
        jsonb_build_object(
            'waiting_days', count(*), 'first_waiting_date', min(activity_date), 'waiting_since', min(touched_at),
            'limit_hours', {{ var('alert_stale_mart_hours') }},
            'last_refreshed_at', (select refreshes.last_refreshed_at from refreshes)
        ) as evidence,
        'tracemill aggregate' as command
    from {{ ref('stg_tracemill__touched_days') }}
    group by project_id
    having min(touched_at) < now() - interval '1 hour' * {{ var('alert_stale_mart_hours') }}

),

-- Lines in quarantine among those of the files that brought one within the last day.
quarantined as (

    select
        files.project_id,
        sum(recent.line_count) as new_lines,
        sum(files.quarantined_count) as quarantined_lines,
        sum(greatest(files.committed_lines, files.quarantined_count)) as read_lines,
        max(recent.commonest_reason) as commonest_reason
    from (
        select
            file_key,
            count(*) as line_count,
            mode() within group (order by reason) as commonest_reason
        from {{ ref('stg_tracemill__quarantined_records') }}
        where quarantined_at > now() - interval '1 day'
        group by file_key
    ) as recent
    inner join {{ ref('stg_tracemill__ingest_files') }} as files on recent.file_key = files.file_key
    group by files.project_id

),

quarantine_rate as (

    select
        'quarantine_rate' as alert,
        'warning' as severity,
        quarantined.project_id,
        'lines' as subject,
        format(
            '%s lines could not be understood within a day, most often: %s.',
            quarantined.new_lines, quarantined.commonest_reason
        ) as summary,
        jsonb_build_object(
            'new_lines', quarantined.new_lines, 'quarantined_lines', quarantined.quarantined_lines,
            'read_lines', quarantined.read_lines,
            'rate', round(quarantined.quarantined_lines / nullif(quarantined.read_lines, 0), 4),
            'limit_rate', coalesce(projects.quarantine_rate, {{ var('alert_quarantine_rate') }}),
            'limit_lines', {{ var('alert_quarantine_min_lines') }}, 'commonest_reason', quarantined.commonest_reason
        ) as evidence,
        'tracemill db shell, then: select path, line_number, detail from ops.quarantined_records '
        || 'order by quarantined_at desc limit 20' as command
    from quarantined
    left join projects on quarantined.project_id = projects.project_id
    where
        quarantined.new_lines >= {{ var('alert_quarantine_min_lines') }}
        and quarantined.quarantined_lines
        > coalesce(projects.quarantine_rate, {{ var('alert_quarantine_rate') }}) * quarantined.read_lines

),

-- Yesterday and today against the median of the four weeks before, days with spending only.
spending as (

    select
        recent.project_id,
        recent.activity_date,
        recent.cost_usd,
        usual.day_count,
        usual.median_usd
    from {{ ref('project_spend_daily') }} as recent
    cross join lateral (
        select
            count(*) as day_count,
            percentile_cont(0.5) within group (order by before.cost_usd)::numeric as median_usd
        from {{ ref('project_spend_daily') }} as before
        where
            before.project_id = recent.project_id
            and before.activity_date between recent.activity_date - 28 and recent.activity_date - 1
            and before.cost_usd > 0
    ) as usual
    where recent.activity_date >= (now() at time zone 'UTC')::date - 1 and recent.cost_usd > 0

),

cost_spike as (

    select
        'cost_spike' as alert,
        'warning' as severity,
        projects.project_id,
        spending.activity_date::text as subject,
        format(
            '%s cost %s USD; half of the days before cost less than %s USD.',
            spending.activity_date, round(spending.cost_usd, 2), round(spending.median_usd, 2)
        ) as summary,
        jsonb_build_object(
            'activity_date', spending.activity_date, 'cost_usd', round(spending.cost_usd, 6),
            'median_usd', round(spending.median_usd, 6), 'days_before', spending.day_count,
            'factor', projects.cost_spike_factor, 'min_usd', {{ var('alert_cost_spike_min_usd') }}
        ) as evidence,
        format(
            'tracemill query "select * from command_costs where activity_date = ''%s'' order by cost_usd desc limit 10" '
            '--project %s', spending.activity_date, projects.project_id
        ) as command
    from spending
    inner join projects on spending.project_id = projects.project_id
    where
        spending.day_count >= 5
        and spending.cost_usd > projects.cost_spike_factor * spending.median_usd
        and spending.cost_usd - spending.median_usd >= {{ var('alert_cost_spike_min_usd') }}

),

budget as (

    select
        'budget' as alert,
        case status when 'exceeded' then 'critical' else 'warning' end as severity,
        project_id,
        to_char(month_start_date, 'YYYY-MM') as subject,
        format(
            '%s of %s USD are spent on %s; the month is expected to cost %s USD%s.',
            round(spent_usd, 2), round(monthly_budget_usd, 2), as_of_date, round(projected_usd, 2),
            ', crossing the budget on ' || crossing_date
        ) as summary,
        jsonb_build_object(
            'status', status, 'spent_usd', round(spent_usd, 6), 'monthly_budget_usd', monthly_budget_usd,
            'projected_usd', round(projected_usd, 6), 'crossing_date', crossing_date, 'as_of_date', as_of_date
        ) as evidence,
        format('tracemill query "select * from budget_status" --project %s', project_id) as command
    from {{ ref('budget_status') }}
    where
        status in ('exceeded', 'will_exceed')
        and month_end_date >= (now() at time zone 'UTC')::date - 1

),

-- Even the low end of the interval is above the limit: a few unlucky runs do not fire.
finished as (

    select
        project_id,
        'executions' as subject,
        count(*) as finished_count,
        count(*) filter (where status in ('failed', 'timeout')) as error_count
    from recent_executions
    where started_at > now() - interval '1 day' and status <> 'pending'
    group by project_id
    union all
    select
        project_id,
        'outcomes' as subject,
        count(*) as finished_count,
        count(*) filter (where status in ('error', 'timeout')) as error_count
    from {{ ref('stg_tracemill__outcomes') }}
    where executed_at > now() - interval '1 day'
    group by project_id

),

error_rate as (

    select
        'error_rate' as alert,
        'warning' as severity,
        projects.project_id,
        finished.subject,
        format(
            '%s of %s %s of the last day failed or ran out of time.',
            finished.error_count, finished.finished_count, finished.subject
        ) as summary,
        jsonb_build_object(
            'errors', finished.error_count, 'finished', finished.finished_count,
            'rate', round(finished.error_count::numeric / finished.finished_count, 4),
            'rate_low',
            round(({{ wilson_low('finished.error_count', 'finished.finished_count') }})::numeric, 4),
            'limit_rate', projects.error_rate, 'min_count', {{ var('alert_error_min_count') }}
        ) as evidence,
        format(
            case finished.subject
                when 'executions'
                    then
                        'tracemill query "select command_base, status_reason, count(*) from command_executions '
                        'where status in (''failed'', ''timeout'') group by 1, 2 order by 3 desc" --project %s'
                else
                    'tracemill query "select scenario_id, status, error_code, count(*) from outcomes '
                    'where status in (''error'', ''timeout'') group by 1, 2, 3 order by 4 desc" --project %s'
            end, projects.project_id
        ) as command
    from finished
    inner join projects on finished.project_id = projects.project_id
    where
        finished.finished_count >= {{ var('alert_error_min_count') }}
        and {{ wilson_low('finished.error_count', 'finished.finished_count') }} > projects.error_rate

),

{{ platform_alerts() }},

alerts as (

    {% for condition in [
        'database_size', 'connection_use', 'slow_queries', 'silence', 'stale_mart', 'missing_partition',
        'rows_in_default', 'unprotected_relation', 'quarantine_rate', 'cost_spike', 'budget',
        'error_rate',
    ] -%}
        select * from {{ condition }}
        {{ 'union all' if not loop.last }}
    {% endfor %}

)

select
    concat_ws(':', alert, coalesce(project_id, '*'), subject) as alert_key,
    alert,
    severity,
    project_id,
    subject,
    summary,
    evidence,
    command
from alerts
where project_id is not null or {{ asked_by_operator() }}
