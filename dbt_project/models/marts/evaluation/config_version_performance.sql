{{
    config(
        incremental_predicates=['true'],
        indexes=[{'columns': ['project_id', 'config_id', 'version_number'], 'unique': true}],
    )
}}

-- One row per version is little: all of them are written anew, from totals that are kept by days.
with

versions as (

    select
        versions.project_id,
        versions.config_version_id,
        versions.config_id,
        configurations.config_name,
        versions.version_number,
        versions.model,
        versions.is_deleted
    from {{ ref('stg_tracemill__config_versions') }} as versions
    inner join {{ ref('stg_tracemill__configurations') }} as configurations
        on versions.project_id = configurations.project_id
        and versions.config_id = configurations.config_id

),

rated as (

    select
        *,
        {{ attempt_rates() }},
        {{ ratio('success_count', ended_count()) }} as completion_rate,
        {{ wilson_low('success_count', ended_count()) }} as completion_rate_low,
        {{ wilson_high('success_count', ended_count()) }} as completion_rate_high,
        {{ standard_deviation('scored_count', 'score_sum', 'score_squares') }} as sd_score,
        {{ ratio('cost_usd', 'passed_count') }} as cost_per_success_usd,
        {{ ratio('cost_usd', 'costed_count') }} as mean_cost_usd,
        {{ ratio('duration_ms', 'timed_count') }} as mean_duration_ms
    from {{ ref('int_version_totals') }}

),

measured as (

    select
        rated.*,
        versions.version_number,
        lag(rated.config_version_id) over (
            partition by versions.project_id, versions.config_id
            order by versions.version_number
        ) as previous_version_id
    from rated
    inner join versions
        on rated.project_id = versions.project_id
        and rated.config_version_id = versions.config_version_id

),

final as (

    select
        versions.project_id,
        versions.config_version_id,
        versions.config_id,
        versions.config_name,
        versions.version_number,
        versions.model,
        versions.is_deleted,
        own.first_activity_date,
        own.last_activity_date,
        coalesce(own.scenario_count, 0) as scenario_count,
        {{ list_attempt_measures('own') }},
        coalesce(own.unjudged_count, 0) as unjudged_count,
        own.reliability,
        own.reliability_low,
        own.reliability_high,
        own.completion_rate,
        own.completion_rate_low,
        own.completion_rate_high,
        own.error_rate,
        own.error_rate_low,
        own.error_rate_high,
        own.mean_score,
        own.sd_score,
        own.cost_per_success_usd,
        own.mean_cost_usd,
        own.mean_duration_ms,
        own.duration_p50_ms,
        own.duration_p90_ms,
        own.duration_p95_ms,
        own.duration_p99_ms,
        own.cost_p50_usd,
        own.cost_p95_usd,
        own.tokens_p50,
        own.tokens_p95,
        coalesce(own.lower_bound_count, 0) > 0 as is_cost_lower_bound,
        own.previous_version_id,
        previous.version_number as previous_version_number,
        own.reliability - previous.reliability as reliability_change,
        {{ newcombe_low('own', 'previous') }} as reliability_change_low,
        {{ newcombe_high('own', 'previous') }} as reliability_change_high,
        own.mean_score - previous.mean_score as mean_score_change,
        own.cost_per_success_usd - previous.cost_per_success_usd as cost_per_success_change_usd,
        own.duration_p50_ms - previous.duration_p50_ms as duration_p50_change_ms
    from versions
    left join measured as own
        on versions.project_id = own.project_id
        and versions.config_version_id = own.config_version_id
    left join measured as previous
        on own.project_id = previous.project_id
        and own.previous_version_id = previous.config_version_id

)

select * from final
