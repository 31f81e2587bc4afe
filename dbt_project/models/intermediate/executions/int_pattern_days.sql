{{
    config(
        indexes=[
            {'columns': ['activity_date']},
            {'columns': ['pattern_id', 'activity_date'], 'unique': true},
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
        pattern_id,
        activity_date,
        min(pattern_signature) as pattern_signature,
        min(command_base) as command_base,
        {{ sum_executions() }},
        sum(total_tokens::numeric * total_tokens) as squared_tokens,
        sum(cost_usd * (1 - cached_tokens::numeric / nullif(input_tokens, 0))) as missed_cache_cost_usd,
        count(*) filter (where input_tokens > 0) as prompted_count,
        count(*) filter (where input_tokens > 0 and cached_tokens = 0) as cold_start_count,
        count(cost_usd) as costed_count,
        min(started_at) as first_started_at,
        max(started_at) as last_started_at,
        max(ended_at) as last_evidence_at
    from executions
    group by project_id, pattern_id, activity_date

)

select * from final
