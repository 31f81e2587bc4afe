-- The marts of optimization agree with each other: all runs are in each once, with their scores, tokens and costs.
{%- set totals = [
    'total_runs', 'completed_runs', 'scored_runs', 'final_score_sum', 'improvement_sum', 'total_duration_ms',
    'total_iterations', 'total_samples_evaluated', 'total_tokens_used', 'total_cost_usd',
] %}

with

runs as (

    select
        project_id,
        {{ sum_run_measures() }}
    from {{ ref('int_optimization_runs') }}
    group by project_id

),

{% for mart in ['optimization_run_analytics', 'optimization_daily_trend'] -%}
    {{ mart }} as (

        select
            project_id,
            {% for total in totals -%}
                sum({{ total }}) as {{ total }}{{ ',' if not loop.last }}
            {% endfor %}
        from {{ ref(mart) }}
        group by project_id

    ),

{% endfor -%}

comparable as (

    select
        project_id,
        count(*) as run_count,
        sum(comparable_gain) as gain_sum
    from {{ ref('int_optimization_runs') }}
    where comparison_id is not null
    group by project_id

),

optimization_leaderboard as (

    select
        project_id,
        count(*) as run_count,
        sum(score_gain) as gain_sum
    from {{ ref('optimization_leaderboard') }}
    group by project_id

),

optimizer_comparison as (

    select
        project_id,
        sum(run_count) as run_count,
        sum(gain_sum) as gain_sum
    from {{ ref('optimizer_comparison') }}
    where compared_with = '(baseline)'
    group by project_id

)

{% for mart in ['optimization_run_analytics', 'optimization_daily_trend'] -%}
    select
        '{{ mart }}' as mart,
        coalesce(mart.project_id, runs.project_id) as project_id
    from {{ mart }} as mart
    full join runs on mart.project_id = runs.project_id
    where
        {% for total in totals -%}
            {{ 'or ' if not loop.first -}}
            mart.{{ total }} is distinct from runs.{{ total }}
        {% endfor %}

    union all

{% endfor -%}

{% for mart in ['optimization_leaderboard', 'optimizer_comparison'] -%}
    select
        '{{ mart }}' as mart,
        coalesce(mart.project_id, comparable.project_id) as project_id
    from {{ mart }} as mart
    full join comparable on mart.project_id = comparable.project_id
    where
        mart.run_count is distinct from comparable.run_count
        or mart.gain_sum is distinct from comparable.gain_sum
    {{ 'union all' if not loop.last }}

{% endfor -%}
