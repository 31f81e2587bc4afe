-- Requests, tokens of every kind and cost of the marts by request time are those of the raw requests, day by day.
{%- set measures = request_token_measures() + request_cost_measures() + ['request_count'] %}

with

requests as (

    select
        *,
        (kind = 'response')::integer as request_count
    from {{ ref('stg_tracemill__model_requests') }}
    where {{ time_to_check('requested_at') }}

),

expected as ({{ summed_by_day('requests', measures, 'true') }}),

{% for mart in ['model_usage_daily', 'hourly_token_usage', 'project_spend_daily'] -%}
    {{ mart }} as (
        {{ summed_by_day(ref(mart), measures, date_to_check('activity_date')) }}
    ),

{% endfor -%}

different as (

    {% for mart in ['model_usage_daily', 'hourly_token_usage', 'project_spend_daily'] -%}
        select
            '{{ mart }}' as mart,
            project_id,
            activity_date
        from ({{ differences(mart, 'expected', measures) }}) as {{ mart }}_differences
        {{ 'union all' if not loop.last }}
    {% endfor %}

)

select * from different
