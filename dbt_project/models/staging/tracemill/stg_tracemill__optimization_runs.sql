with source as (

    select * from {{ source('raw', 'optimization_runs') }}

),

renamed as (

    select
        -- ids
        project_id,
        id as run_id,

        -- text
        run_name,
        optimizer_type,
        optimizer,
        model,
        task,
        metric,
        dataset_hash,
        status,
        evaluation_kind,
        score_scale::text as score_scale,
        score_direction,
        best_evaluation_kind,

        -- scores
        initial_score_raw,
        final_score_raw,
        best_score_raw,
        initial_score,
        final_score,
        best_score,
        improvement_raw,
        improvement,

        -- numbers
        iterations as iteration_count,
        full_evaluations as full_evaluation_count,
        best_iteration,
        samples_evaluated as sample_count,
        successful_samples as successful_sample_count,
        failed_samples as failed_sample_count,
        duration_ms,
        nullif(total_tokens, 0) as total_tokens,
        nullif(iteration_tokens, 0) as evaluation_tokens,
        case
            when iteration_tokens > 0 and reported_tokens >= iteration_tokens then reported_tokens - iteration_tokens
        end as optimizer_tokens,
        total_cost_usd,

        -- booleans
        lower(score_scale) is not null and upper(score_scale) is not null as is_normalised,
        unpriced_iterations > 0 as is_cost_lower_bound,

        -- times
        coalesce(start_time, created_at) as started_at,
        end_time as ended_at,
        (coalesce(start_time, created_at) at time zone 'UTC')::date as run_date,
        updated_at as run_version
    from source

)

select * from renamed
