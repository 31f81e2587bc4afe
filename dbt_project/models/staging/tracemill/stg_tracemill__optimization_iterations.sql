with source as (

    select * from {{ source('raw', 'optimization_iterations') }}

),

renamed as (

    select
        -- ids
        project_id,
        run_id,
        iteration,

        -- text
        evaluation_kind,
        score_direction,

        -- scores
        score_raw,
        score,

        -- numbers
        tokens_used as tokens,
        cost_usd,
        duration_ms,
        metric_calls_so_far
    from source

)

select * from renamed
