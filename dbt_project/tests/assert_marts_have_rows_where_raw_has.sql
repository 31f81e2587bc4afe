-- A mart is empty only where its raw table is: a policy that hides all rows from the build would leave every mart
-- empty and every comparison of sums content.
{%- set expectations = [
    ('daily_command_stats', 'stg_tracemill__command_executions'),
    ('session_summary', 'stg_tracemill__command_executions'),
    ('command_patterns', 'stg_tracemill__command_executions'),
    ('cache_effectiveness', 'stg_tracemill__command_executions'),
    ('dim_workspaces', 'stg_tracemill__command_executions'),
    ('source_reconciliation', 'stg_tracemill__command_executions'),
    ('model_usage_daily', 'stg_tracemill__model_requests'),
    ('hourly_token_usage', 'stg_tracemill__model_requests'),
    ('project_spend_daily', 'stg_tracemill__model_requests'),
    ('command_costs', 'stg_tracemill__model_requests'),
    ('tool_usage_daily', 'stg_tracemill__tool_calls'),
] %}

with

presence as (

    {% for mart, staging in expectations -%}
        select
            '{{ mart }}' as mart,
            exists(select 1 from {{ ref(mart) }}) as has_rows,
            exists(select 1 from {{ ref(staging) }}) as should_have_rows
        {{ 'union all' if not loop.last }}
    {% endfor %}

    union all

    -- Only of patterns that were used within the window.
    select
        'command_pattern_history' as mart,
        exists(select 1 from {{ ref('command_pattern_history') }}) as has_rows,
        exists(
            select 1
            from {{ ref('stg_tracemill__command_executions') }} as executions
            inner join {{ ref('int_aggregation_window') }} as aggregated
                on
                    executions.started_at >= aggregated.window_start::timestamp at time zone 'UTC'
                    and executions.started_at < (aggregated.window_end + 1)::timestamp at time zone 'UTC'
        ) as should_have_rows

)

select mart
from presence
where should_have_rows and not has_rows
