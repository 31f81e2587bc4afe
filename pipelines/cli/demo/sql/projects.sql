with executions as (
    select project_id, sum(execution_count)::bigint as executions
    from marts.daily_command_stats where project_id = any(%(projects)s) group by project_id
),
spend as (
    select
        project_id, sum(request_count)::bigint as requests, sum(total_tokens)::bigint as tokens,
        sum(cost_usd) as cost_usd, bool_or(is_cost_lower_bound) as is_lower_bound,
        sum(unpriced_count)::bigint as unpriced_requests,
        sum(lower_bound_count - unpriced_count)::bigint as incomplete_requests,
        100.0 * sum(cache_read_tokens) / nullif(sum(input_tokens), 0) as cache_hit_rate
    from marts.project_spend_daily where project_id = any(%(projects)s) group by project_id
)
select * from executions join spend using (project_id) order by cost_usd desc nulls last, project_id
