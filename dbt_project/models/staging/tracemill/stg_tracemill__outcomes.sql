with source as (

    select * from {{ source('raw', 'outcomes') }}

),

renamed as (

    select
        -- ids
        project_id,
        outcome_id,
        simulation_id,
        scenario_id,

        -- text
        status,
        error_code,
        model,
        cost_status,
        price_version,

        -- numbers
        epoch,
        trim_scale(reliability_score) as score,
        execution_time_ms::numeric as duration_ms,
        tokens_used as total_tokens,
        cost_usd,
        retry_count,

        -- booleans
        not coalesce(score_scale::numrange @> score_raw, true) as is_off_scale,
        is_passed,
        -- An attempt that broke off failed, verdict or not; one that ended and that nobody judged may be either.
        case
            when is_passed is not null then is_passed
            when status in ('error', 'timeout') then false
        end as is_reliable,
        cost_status = 'unpriced' and coalesce(tokens_used <> 0, true) as is_unpriced,
        cost_status = 'partial'
        or (cost_status = 'unpriced' and coalesce(tokens_used <> 0, true)) as is_cost_lower_bound,

        -- times
        execution_time as executed_at,
        (execution_time at time zone 'UTC')::date as activity_date
    from source

)

select * from renamed
