{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

models as (

    select * from {{ ref('model_usage_daily') }}
    where {{ date_in_scope('activity_date') }}

),

final as (

    select
        project_id,
        activity_date,
        sum(request_count)::bigint as request_count,
        sum(remainder_count)::bigint as remainder_count,
        {% for measure in request_token_measures() -%}
            sum({{ measure }})::bigint as {{ measure }},
        {% endfor -%}
        {% for measure in request_cost_measures() -%}
            sum({{ measure }}) as {{ measure }},
        {% endfor -%}
        sum(unpriced_count)::bigint as unpriced_count,
        sum(lower_bound_count)::bigint as lower_bound_count,
        count(*) as model_count,
        {{ cache_hit_rate('sum(cache_read_tokens)', 'sum(input_tokens)') }} as cache_hit_rate,
        bool_or(is_cost_lower_bound) as is_cost_lower_bound
    from models
    group by project_id, activity_date

)

select * from final
