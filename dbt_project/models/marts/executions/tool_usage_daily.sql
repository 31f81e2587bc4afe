{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

calls as (

    select * from {{ ref('stg_tracemill__tool_calls') }}
    where {{ in_scope('called_at') }}

),

summed as (

    select
        project_id,
        activity_date,
        tool_name,
        count(*) as call_count,
        count(*) filter (where status = 'ok') as ok_count,
        count(*) filter (where status = 'error') as error_count,
        count(*) filter (where status = 'rejected') as rejected_count,
        count(*) filter (where status = 'unanswered') as unanswered_count,
        count(*) filter (where is_subagent) as subagent_call_count,
        count(distinct execution_id) as execution_count,
        count(distinct session_id) as session_count,
        count(duration_ms) as timed_count,
        sum(duration_ms)::bigint as duration_ms,
        percentile_cont(array[0.5, 0.95]) within group (order by duration_ms) as duration_quantiles
    from calls
    group by project_id, activity_date, tool_name

),

final as (

    select
        project_id,
        activity_date,
        tool_name,
        call_count,
        ok_count,
        error_count,
        rejected_count,
        unanswered_count,
        subagent_call_count,
        execution_count,
        session_count,
        timed_count,
        duration_ms,
        {{ ratio('error_count', 'ok_count + error_count') }} as error_rate,
        {{ wilson_low('error_count', '(ok_count + error_count)') }} as error_rate_low,
        {{ wilson_high('error_count', '(ok_count + error_count)') }} as error_rate_high,
        duration_quantiles[1] as duration_p50_ms,
        duration_quantiles[2] as duration_p95_ms
    from summed

)

select * from final
