{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

executions as (

    select
        executions.project_id,
        executions.activity_date,
        executions.execution_id,
        format.source_format,
        jsonb_array_length(executions.source_formats) = 1 as is_sole,
        executions.reported_usage
    from {{ ref('stg_tracemill__command_executions') }} as executions
    cross join lateral jsonb_array_elements_text(executions.source_formats) as format (source_format)
    where {{ in_scope('executions.started_at') }}

),

days as (

    select
        project_id,
        activity_date,
        count(*) as day_execution_count
    from {{ ref('stg_tracemill__command_executions') }}
    where {{ in_scope('started_at') }}
    group by project_id, activity_date

),

-- Only headless runs (stream_json) end with a sum of their own.
reports as (

    select
        executions.project_id,
        executions.activity_date,
        executions.source_format,
        count(distinct executions.execution_id) as reported_execution_count,
        sum(
            coalesce(usage.input_tokens, 0) + coalesce(usage.cache_creation_tokens, 0)
            + coalesce(usage.cache_read_tokens, 0) + coalesce(usage.output_tokens, 0)
        )::bigint as reported_tokens,
        sum(round(usage.cost_usd, 12)) as reported_cost_usd
    from executions
    cross join lateral jsonb_to_recordset(executions.reported_usage) as usage (
        input_tokens bigint,
        cache_creation_tokens bigint,
        cache_read_tokens bigint,
        output_tokens bigint,
        cost_usd numeric
    )
    where executions.source_format = 'stream_json'
    group by executions.project_id, executions.activity_date, executions.source_format

),

seen as (

    select
        project_id,
        activity_date,
        source_format,
        count(*) as execution_count,
        count(*) filter (where is_sole) as sole_execution_count
    from executions
    group by project_id, activity_date, source_format

),

requests as (

    select
        project_id,
        activity_date,
        source_format,
        count(*) filter (where kind = 'response') as request_count,
        coalesce(sum(total_tokens) filter (where kind = 'response'), 0)::bigint as total_tokens,
        sum(cost_usd) filter (where kind = 'response') as cost_usd,
        coalesce(sum(total_tokens) filter (where kind = 'remainder'), 0)::bigint as unexplained_tokens,
        sum(cost_usd) filter (where kind = 'remainder') as unexplained_cost_usd
    from {{ ref('stg_tracemill__model_requests') }}
    where {{ in_scope('requested_at') }}
    group by project_id, activity_date, source_format

),

keys as (

    select
        project_id,
        activity_date,
        source_format
    from seen

    union distinct

    select
        project_id,
        activity_date,
        source_format
    from requests

),

final as (

    select
        keys.project_id,
        keys.activity_date,
        keys.source_format,
        coalesce(days.day_execution_count, 0) as day_execution_count,
        coalesce(seen.execution_count, 0) as execution_count,
        coalesce(seen.sole_execution_count, 0) as sole_execution_count,
        {{ ratio('coalesce(seen.execution_count, 0)', 'days.day_execution_count') }} as execution_coverage,
        coalesce(requests.request_count, 0) as request_count,
        coalesce(requests.total_tokens, 0) as total_tokens,
        requests.cost_usd,
        {{ ratio(
            'coalesce(requests.total_tokens, 0)',
            'sum(requests.total_tokens + requests.unexplained_tokens) over project_day'
        ) }} as token_coverage,
        coalesce(reports.reported_execution_count, 0) as reported_execution_count,
        coalesce(reports.reported_tokens, 0) as reported_tokens,
        reports.reported_cost_usd,
        coalesce(requests.unexplained_tokens, 0) as unexplained_tokens,
        requests.unexplained_cost_usd,
        1 - {{ ratio('coalesce(requests.unexplained_tokens, 0)', 'reports.reported_tokens') }} as report_coverage
    from keys
    left join seen
        on keys.project_id = seen.project_id
        and keys.activity_date = seen.activity_date
        and keys.source_format = seen.source_format
    left join requests
        on keys.project_id = requests.project_id
        and keys.activity_date = requests.activity_date
        and keys.source_format = requests.source_format
    left join reports
        on keys.project_id = reports.project_id
        and keys.activity_date = reports.activity_date
        and keys.source_format = reports.source_format
    left join days
        on keys.project_id = days.project_id
        and keys.activity_date = days.activity_date
    window project_day as (partition by keys.project_id, keys.activity_date)

)

select * from final
