{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['project_id', 'config_version_id']},
        ],
    )
}}

with

outcomes as (

    select * from {{ ref('int_version_outcomes') }}
    where {{ in_scope('executed_at') }}

),

measured as (

    select
        outcomes.project_id,
        outcomes.config_version_id,
        outcomes.activity_date,
        measures.metric,
        {{ sketch_bucket('measures.measured') }} as bucket
    from outcomes
    cross join lateral (
        values
        ('duration_ms', outcomes.duration_ms::double precision),
        ('cost_usd', outcomes.cost_usd::double precision),
        ('tokens', outcomes.total_tokens::double precision)
    ) as measures (metric, measured)
    where measures.measured is not null

),

bucketed as (

    select
        project_id,
        config_version_id,
        activity_date,
        metric,
        bucket,
        count(*)::integer as observations
    from measured
    group by project_id, config_version_id, activity_date, metric, bucket

),

final as (

    select
        project_id,
        config_version_id,
        activity_date,
        metric,
        array_agg(bucket order by bucket) as buckets,
        array_agg(observations order by bucket) as observations
    from bucketed
    group by project_id, config_version_id, activity_date, metric

)

select * from final
