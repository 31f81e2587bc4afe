{{ config(indexes=[{'columns': ['activity_date']}]) }}

-- How long the cache had to last: the pauses between consecutive responses of one conversation. A conversation is a
-- session's, or one subagent's within it; on one day, so that a day can be rebuilt without its neighbours. What was
-- written for an hour keeps the conversation's cache for an hour, reads included.
with

executions as (

    select
        project_id,
        execution_id,
        pattern_id,
        activity_date
    from {{ ref('stg_tracemill__command_executions') }}
    where {{ in_scope('started_at') }}

),

responses as (

    select
        project_id,
        execution_id,
        request_key,
        coalesce(session_id, execution_id::text) as session_id,
        agent_id,
        requested_at,
        activity_date,
        cache_creation_tokens,
        cache_write_cost_usd,
        case when cache_creation_1h_tokens > 0 then 3600 when cache_creation_5m_tokens > 0 then 300 end as life_seconds
    from {{ ref('stg_tracemill__model_requests') }}
    where kind = 'response' and {{ near_scope('requested_at') }}

),

sequenced as (

    select
        executions.project_id,
        executions.pattern_id,
        executions.activity_date,
        responses.cache_creation_tokens,
        responses.cache_write_cost_usd,
        extract(epoch from responses.requested_at - lag(responses.requested_at) over conversation) as gap_seconds,
        max(responses.life_seconds) over (conversation rows between unbounded preceding and 1 preceding)
            as cache_life_seconds
    from executions
    inner join responses
        on executions.project_id = responses.project_id
        and executions.execution_id = responses.execution_id
        and responses.activity_date between executions.activity_date - 1 and executions.activity_date + 1
    window conversation as (
        partition by executions.project_id, executions.activity_date, responses.session_id, responses.agent_id
        order by responses.requested_at, responses.request_key
    )

),

final as (

    select
        project_id,
        pattern_id,
        activity_date,
        count(*) as gap_count,
        count(*) filter (where gap_seconds <= 300) as gaps_within_5m,
        count(*) filter (where gap_seconds > 300 and gap_seconds <= 3600) as gaps_within_1h,
        count(*) filter (where gap_seconds > 3600) as gaps_beyond_1h,
        count(*) filter (where gap_seconds > cache_life_seconds) as outlived_count,
        coalesce(sum(cache_creation_tokens) filter (where gap_seconds > cache_life_seconds), 0)::bigint
            as rewritten_tokens,
        sum(cache_write_cost_usd) filter (where gap_seconds > cache_life_seconds) as rewritten_cost_usd
    from sequenced
    where cache_life_seconds is not null
    group by project_id, pattern_id, activity_date

)

select * from final
