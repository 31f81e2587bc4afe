{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['project_id', 'failure_id', 'activity_date'], 'unique': true},
        ],
    )
}}

-- A failed attempt's money and time go in equal shares to what went wrong in it, so that clusters add up to what was
-- wasted. An attempt that failed without an error is a cluster of its own kind.
with

outcomes as (

    select * from {{ ref('int_version_outcomes') }}
    where {{ in_scope('executed_at') }}

),

failures as (

    select
        project_id,
        outcome_id,
        failure_category,
        error_template,
        min(failure_type) as failure_type,
        min(cluster_id) as cluster_id,
        count(*) as failure_count,
        count(*) filter (where recovery_attempted) as recovery_attempted_count,
        count(*) filter (where recovery_successful) as recovered_count
    from {{ ref('stg_tracemill__failure_patterns') }}
    where {{ in_scope('executed_at') }}
    group by project_id, outcome_id, failure_category, error_template

),

hit as (

    select
        outcomes.project_id,
        outcomes.activity_date,
        outcomes.outcome_id,
        outcomes.executed_at,
        outcomes.is_reliable,
        outcomes.cost_usd,
        outcomes.duration_ms,
        outcomes.is_cost_lower_bound,
        coalesce(
            failures.failure_category,
            case when outcomes.status = 'success' then 'wrong_answer' else 'unknown' end
        ) as failure_category,
        coalesce(
            failures.error_template,
            case when outcomes.status = 'success' then '(judged wrong, no error)' else '(no error recorded)' end
        ) as error_template,
        coalesce(
            failures.failure_type,
            case when outcomes.status = 'success' then 'wrong_answer' else outcomes.status end
        ) as failure_type,
        failures.cluster_id,
        coalesce(failures.failure_count, 0) as failure_count,
        coalesce(failures.recovery_attempted_count, 0) as recovery_attempted_count,
        coalesce(failures.recovered_count, 0) as recovered_count,
        count(*) over (partition by outcomes.project_id, outcomes.outcome_id) as sharer_count
    from outcomes
    left join failures
        on outcomes.project_id = failures.project_id
        and outcomes.outcome_id = failures.outcome_id
    where failures.outcome_id is not null or not outcomes.is_reliable

),

final as (

    select
        project_id,
        md5(jsonb_build_array(project_id, failure_category, error_template)::text)::uuid as failure_id,
        activity_date,
        failure_category,
        error_template,
        min(failure_type) as failure_type,
        min(cluster_id) as cluster_id,
        count(*) as outcome_count,
        count(*) filter (where not is_reliable) as failed_outcome_count,
        sum(failure_count)::bigint as failure_count,
        sum(recovery_attempted_count)::bigint as recovery_attempted_count,
        sum(recovered_count)::bigint as recovered_count,
        trim_scale(sum(cost_usd / sharer_count) filter (where not is_reliable)) as wasted_cost_usd,
        trim_scale(sum(duration_ms / sharer_count) filter (where not is_reliable)) as wasted_ms,
        count(*) filter (where not is_reliable and is_cost_lower_bound) as lower_bound_count,
        min(executed_at) as first_seen_at,
        max(executed_at) as last_seen_at
    from hit
    group by project_id, activity_date, failure_category, error_template

)

select * from final
