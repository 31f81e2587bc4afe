{{ config(incremental_strategy='roll', indexes=[{'columns': ['activity_date']}]) }}

with

executions as (

    select * from {{ ref('stg_tracemill__command_executions') }}
    where
        {{ in_scope('started_at') }}
        and started_at >= (
            select bounds.window_start::timestamp at time zone 'UTC' from {{ ref('int_aggregation_window') }} as bounds
        )

),

measured as (

    select
        executions.project_id,
        executions.pattern_id,
        executions.activity_date,
        measures.metric,
        {{ sketch_bucket('measures.measured') }} as bucket
    from executions
    cross join lateral (
        values
        ('tokens', executions.total_tokens::double precision),
        ('cost_usd', executions.cost_usd::double precision),
        ('duration_ms', executions.execution_time_ms::double precision)
    ) as measures (metric, measured)
    where measures.measured is not null

),

fresh as (

    select
        project_id,
        pattern_id,
        metric,
        activity_date,
        bucket,
        count(*)::integer as observations
    from measured
    group by project_id, pattern_id, metric, activity_date, bucket

),

{{ rolled_sketches(keys=['pattern_id', 'metric'], attributes=['project_id']) }}
