-- Counts, tokens, time and cost of the marts by command are those of the raw executions, day by day.
{%- set measures = ['execution_count', 'total_tokens', 'cached_tokens', 'execution_time_ms', 'cost_usd'] %}
{%- set workspace_measures = ['execution_count', 'total_tokens', 'cost_usd'] %}
{%- set cache_measures = ['execution_count', 'cached_tokens', 'cache_creation_tokens', 'cache_savings_usd'] %}

with

executions as (

    select
        project_id,
        activity_date,
        1 as execution_count,
        total_tokens,
        cached_tokens,
        cache_creation_tokens,
        cache_savings_usd,
        execution_time_ms,
        cost_usd
    from {{ ref('stg_tracemill__command_executions') }}
    where {{ time_to_check('started_at') }}

),

expected as ({{ summed_by_day('executions', measures, 'true') }}),

expected_cache as ({{ summed_by_day('executions', cache_measures, 'true') }}),

daily_command_stats as (
    {{ summed_by_day(ref('daily_command_stats'), measures, date_to_check('activity_date')) }}
),

pattern_days as (
    {{ summed_by_day(ref('int_pattern_days'), measures, date_to_check('activity_date')) }}
),

session_days as (
    {{ summed_by_day(ref('int_session_days'), measures, date_to_check('activity_date')) }}
),

workspace_days as (
    {{ summed_by_day(ref('int_workspace_days'), workspace_measures, date_to_check('activity_date')) }}
),

cache_effectiveness as (
    {{ summed_by_day(ref('cache_effectiveness'), cache_measures, date_to_check('activity_date')) }}
),

different as (

    {% for mart in ['daily_command_stats', 'pattern_days', 'session_days'] -%}
        select
            '{{ mart }}' as mart,
            project_id,
            activity_date
        from ({{ differences(mart, 'expected', measures) }}) as {{ mart }}_differences

        union all
    {% endfor %}
    select
        'workspace_days' as mart,
        project_id,
        activity_date
    from ({{ differences('workspace_days', 'expected', workspace_measures) }}) as workspace_differences

    union all

    select
        'cache_effectiveness' as mart,
        project_id,
        activity_date
    from ({{ differences('cache_effectiveness', 'expected_cache', cache_measures) }}) as cache_differences

)

select * from different
