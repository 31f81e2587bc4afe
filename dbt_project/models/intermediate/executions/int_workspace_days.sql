{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['workspace_id', 'activity_date'], 'unique': true},
        ],
    )
}}

with

executions as (

    select * from {{ ref('stg_tracemill__command_executions') }}
    where {{ in_scope('started_at') }}

),

final as (

    select
        project_id,
        workspace_id,
        activity_date,
        min(workspace_path) as workspace_path,
        (array_agg(git_branch order by started_at desc, execution_id desc) filter (where git_branch is not null))[1]
            as last_git_branch,
        count(*) as execution_count,
        sum(total_tokens)::bigint as total_tokens,
        sum(cost_usd) as cost_usd,
        count(*) filter (where is_unpriced) as unpriced_count,
        count(*) filter (where is_cost_lower_bound) as lower_bound_count
    from executions
    group by project_id, workspace_id, activity_date

)

select * from final
