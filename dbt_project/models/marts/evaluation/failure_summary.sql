{{ config(incremental_predicates=['true'], indexes=[{'columns': ['project_id', 'cost_rank']}]) }}

with

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

failure_days as (

    select
        *,
        activity_date > (select bounds.window_end - 7 from bounds)
        and activity_date <= (select bounds.window_end from bounds) as is_this_week,
        activity_date > (select bounds.window_end - 14 from bounds)
        and activity_date <= (select bounds.window_end - 7 from bounds) as is_week_before
    from {{ ref('int_failure_days') }}

),

summed as (

    select
        project_id,
        failure_id,
        failure_category,
        error_template,
        min(failure_type) as failure_type,
        min(cluster_id) as cluster_id,
        sum(outcome_count)::bigint as outcome_count,
        sum(failed_outcome_count)::bigint as failed_outcome_count,
        sum(failure_count)::bigint as failure_count,
        sum(recovery_attempted_count)::bigint as recovery_attempted_count,
        sum(recovered_count)::bigint as recovered_count,
        sum(wasted_cost_usd) as wasted_cost_usd,
        sum(wasted_ms) as wasted_ms,
        sum(lower_bound_count)::bigint as lower_bound_count,
        count(*) as day_count,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        coalesce(sum(outcome_count) filter (where is_this_week), 0)::bigint as outcome_count_7d,
        coalesce(sum(outcome_count) filter (where is_week_before), 0)::bigint as outcome_count_previous_7d
    from failure_days
    group by project_id, failure_id, failure_category, error_template

),

final as (

    select
        project_id,
        failure_id,
        failure_category,
        error_template,
        failure_type,
        cluster_id,
        outcome_count,
        failed_outcome_count,
        failure_count,
        recovery_attempted_count,
        recovered_count,
        {{ ratio('recovered_count', 'recovery_attempted_count') }} as recovery_rate,
        wasted_cost_usd,
        (wasted_ms / 60000)::double precision as wasted_minutes,
        lower_bound_count > 0 as is_cost_lower_bound,
        row_number() over (
            partition by project_id
            order by wasted_cost_usd desc nulls last, wasted_ms desc nulls last, failure_id asc
        ) as cost_rank,
        row_number() over (
            partition by project_id
            order by wasted_ms desc nulls last, wasted_cost_usd desc nulls last, failure_id asc
        ) as time_rank,
        day_count,
        first_seen_at,
        last_seen_at,
        outcome_count_7d,
        outcome_count_previous_7d,
        case
            when outcome_count_7d = 0 then 'quiet'
            when first_seen_at >= (select bounds.window_end - 6 from bounds)::timestamp at time zone 'UTC' then 'new'
            when outcome_count_7d > outcome_count_previous_7d then 'rising'
            when outcome_count_7d < outcome_count_previous_7d then 'falling'
            else 'steady'
        end as trend
    from summed

)

select * from final
