{{ config(indexes=[{'columns': ['activity_date']}]) }}

{#- What the requests of one execution cost, by model. Their own times may lie far from the execution's, so no range
    of days finds them all. A night looks up those made while it ran, which need the index of one month or two; only
    where these do not add up to what the execution used are all months searched. A full build joins everything
    once. -#}
{%- set keys_match -%}
    requests.project_id = executions.project_id
    and requests.execution_id = executions.execution_id
{%- endset -%}
with

executions as (

    select
        project_id,
        execution_id,
        activity_date,
        command_base,
        pattern_id,
        pattern_signature,
        total_tokens,
        request_count,
        cost_usd,
        started_at,
        ended_at
    from {{ ref('stg_tracemill__command_executions') }}
    where {{ in_scope('started_at') }}

),

spent as (

    select
        executions.project_id,
        executions.activity_date,
        executions.command_base,
        executions.pattern_id,
        executions.pattern_signature,
        owned.*
    from executions
    {% if is_incremental() %}
        cross join lateral (
            -- Materialised, or the planner may turn the lookups into a join with all of history.
            with nearby as materialized (
                select * from {{ ref('stg_tracemill__model_requests') }} as requests
                where
                    {{ keys_match }}
                    and requests.requested_at >= executions.started_at - interval '1 day'
                    and requests.requested_at <= executions.ended_at + interval '1 day'
            ),

            completeness as materialized (
                select
                    count(*) filter (where kind = 'response') = executions.request_count
                    and coalesce(sum(total_tokens), 0) = executions.total_tokens
                    and coalesce(sum(cost_usd), 0) = coalesce(executions.cost_usd, 0) as is_complete
                from nearby
            ),

            found as (
                select * from nearby
                where (select completeness.is_complete from completeness)

                union all

                select * from {{ ref('stg_tracemill__model_requests') }} as requests
                where
                    {{ keys_match }}
                    and not (select completeness.is_complete from completeness)
            )

            select
                execution_id,
                model,
                kind,
                cost_status,
                is_cost_lower_bound,
                {% for measure in request_token_measures() + request_cost_measures() -%}
                    {{ measure }}{{ ',' if not loop.last }}
                {% endfor %}
            from found
        ) as owned
    {% else %}
        inner join (
            select
                project_id as owner_project_id,
                execution_id,
                model,
                kind,
                cost_status,
                is_cost_lower_bound,
                {% for measure in request_token_measures() + request_cost_measures() -%}
                    {{ measure }}{{ ',' if not loop.last }}
                {% endfor %}
            from {{ ref('stg_tracemill__model_requests') }}
        ) as owned
            on executions.project_id = owned.owner_project_id
            and executions.execution_id = owned.execution_id
    {% endif %}

),

final as (

    select
        project_id,
        activity_date,
        pattern_signature,
        model,
        min(command_base) as command_base,
        min(pattern_id::text)::uuid as pattern_id,
        count(distinct execution_id) as execution_count,
        {{ sum_requests() }},
        {{ ratio('sum(cost_usd)', 'count(distinct execution_id)') }} as cost_per_execution_usd,
        {{ cache_hit_rate('sum(cache_read_tokens)', 'sum(input_tokens)') }} as cache_hit_rate,
        bool_or(is_cost_lower_bound) as is_cost_lower_bound
    from spent
    group by project_id, activity_date, pattern_signature, model

)

select * from final
