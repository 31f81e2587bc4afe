{{ config(indexes=[{'columns': ['activity_date']}]) }}

with

requests as (

    select * from {{ ref('stg_tracemill__model_requests') }}
    where {{ in_scope('requested_at') }}

),

final as (

    select
        project_id,
        date_trunc('hour', requested_at, 'UTC') as activity_hour,
        min(activity_date) as activity_date,
        {{ sum_requests() }},
        count(distinct execution_id) as execution_count,
        count(distinct session_id) as session_count,
        {{ cache_hit_rate('sum(cache_read_tokens)', 'sum(input_tokens)') }} as cache_hit_rate,
        bool_or(is_cost_lower_bound) as is_cost_lower_bound
    from requests
    group by project_id, date_trunc('hour', requested_at, 'UTC')

)

select * from final
