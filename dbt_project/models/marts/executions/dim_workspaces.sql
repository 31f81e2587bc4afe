{{ config(incremental_predicates=['true'], indexes=[{'columns': ['workspace_id'], 'unique': true}]) }}

-- Every workspace ever seen, with the sums of the window. First and last day can only have changed where a rebuilt day
-- is or was one of them; they are looked up through the index, however long the history.
with

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

affected as (

    select distinct workspace_id
    from {{ ref('int_workspace_days') }}
    where {{ date_in_scope('activity_date') }}

    {% if is_incremental() %}
        union distinct

        select workspace_id
        from {{ this }}
        where {{ on_rebuilt_days('first_seen_date') }} or {{ on_rebuilt_days('last_seen_date') }}
    {% endif %}

),

seen as (

    select
        latest.project_id,
        affected.workspace_id,
        latest.workspace_path,
        latest.last_git_branch,
        earliest.activity_date as first_seen_date,
        latest.activity_date as last_seen_date
    from affected
    cross join lateral (
        select activity_date
        from {{ ref('int_workspace_days') }} as workspace_days
        where workspace_days.workspace_id = affected.workspace_id
        order by activity_date
        limit 1
    ) as earliest
    cross join lateral (
        select
            project_id,
            workspace_path,
            last_git_branch,
            activity_date
        from {{ ref('int_workspace_days') }} as workspace_days
        where workspace_days.workspace_id = affected.workspace_id
        order by activity_date desc
        limit 1
    ) as latest

    {% if is_incremental() %}
        union all

        select
            project_id,
            workspace_id,
            workspace_path,
            last_git_branch,
            first_seen_date,
            last_seen_date
        from {{ this }}
        where workspace_id not in (select affected.workspace_id from affected)
    {% endif %}

),

sums as (

    select
        workspace_id,
        count(*) as active_days,
        sum(execution_count)::bigint as execution_count,
        sum(total_tokens)::bigint as total_tokens,
        sum(cost_usd) as cost_usd,
        sum(unpriced_count)::bigint as unpriced_count,
        sum(lower_bound_count)::bigint as lower_bound_count
    from {{ ref('int_workspace_days') }}
    where
        activity_date >= (select bounds.window_start from bounds)
        and activity_date <= (select bounds.window_end from bounds)
    group by workspace_id

),

final as (

    select
        seen.project_id,
        seen.workspace_id,
        seen.workspace_path,
        substring(seen.workspace_path from '([^/\\]+)[/\\]*$') as workspace_name,
        seen.last_git_branch,
        seen.first_seen_date,
        seen.last_seen_date,
        bounds.window_start,
        bounds.window_end,
        coalesce(sums.active_days, 0) as active_days,
        coalesce(sums.execution_count, 0) as execution_count,
        coalesce(sums.total_tokens, 0) as total_tokens,
        sums.cost_usd,
        coalesce(sums.unpriced_count, 0) as unpriced_count,
        coalesce(sums.lower_bound_count, 0) > 0 as is_cost_lower_bound
    from seen
    cross join bounds
    left join sums on seen.workspace_id = sums.workspace_id

)

select * from final
