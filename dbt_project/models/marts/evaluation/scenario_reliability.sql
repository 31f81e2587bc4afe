{{ config(incremental_predicates=['true']) }}

-- Pairs of version and scenario are few beside attempts. What happened within the window comes from its days alone,
-- and what was before is the rest, so that a night never reads the days that stay.
with

scenarios as (

    select * from {{ ref('stg_tracemill__scenarios') }}

),

bounds as (

    select * from {{ ref('int_aggregation_window') }}

),

recent as (

    select
        project_id,
        config_version_id,
        scenario_id,
        sum(judged_count) as judged_count,
        sum(passed_count) as passed_count,
        sum(failed_count) as failed_count
    from {{ ref('int_version_scenario_days') }}
    where
        activity_date >= (select bounds.window_start from bounds)
        and activity_date <= (select bounds.window_end from bounds)
    group by project_id, config_version_id, scenario_id

),

pairs as (

    select
        whole.*,
        {{ trial_count('whole') }} as trials,
        case when whole.judged_count > 0 then coalesce(recent.passed_count + recent.failed_count, 0) else 0 end
        as recent_trials,
        case when whole.judged_count > 0 then coalesce(recent.passed_count, 0) else 0 end as recent_passed,
        case when whole.judged_count > 0 then whole.passed_count else 0 end as trials_passed
    from {{ ref('int_version_scenarios') }} as whole
    left join recent
        on whole.project_id = recent.project_id
        and whole.config_version_id = recent.config_version_id
        and whole.scenario_id = recent.scenario_id

),

strata as (

    select
        *,
        trials - recent_trials as earlier_trials,
        trials_passed - recent_passed as earlier_passed,
        trials > 1 as is_repeated,
        recent_trials > 0 and trials > recent_trials as is_compared
    from pairs

),

summed as (

    select
        project_id,
        scenario_id,
        min(first_activity_date) as first_activity_date,
        max(last_activity_date) as last_activity_date,
        {{ sum_attempt_measures() }},
        count(*) as version_count,
        count(*) filter (where is_repeated) as repeated_version_count,
        -- Of all pairs of attempts by the same version: how many ended differently.
        sum(trials_passed::numeric * (trials - trials_passed) * 2) filter (where is_repeated) as differing_pairs,
        sum(trials::numeric * (trials - 1)) filter (where is_repeated) as attempt_pairs,
        sum(recent_trials)::bigint as recent_trial_count,
        sum(recent_passed)::bigint as recent_passed_count,
        sum(earlier_trials)::bigint as earlier_trial_count,
        sum(earlier_passed)::bigint as earlier_passed_count,
        count(*) filter (where is_compared) as compared_version_count,
        -- Mantel and Haenszel: recent against earlier within each version, weighted by what both say together.
        sum((recent_passed * earlier_trials - earlier_passed * recent_trials)::numeric / nullif(trials, 0))
        filter (where is_compared) as weighted_difference,
        sum(recent_trials::numeric * earlier_trials / nullif(trials, 0)) filter (where is_compared) as weight,
        sum(
            recent_trials::numeric * earlier_trials * trials_passed * (trials - trials_passed)
            / nullif(trials::numeric * trials * (trials - 1), 0)
        ) filter (where is_compared) as variance
    from strata
    group by project_id, scenario_id

),

rated as (

    select
        *,
        {{ attempt_rates() }},
        {{ standard_deviation('scored_count', 'score_sum', 'score_squares') }} as sd_score,
        {{ ratio('differing_pairs', 'attempt_pairs') }} as flakiness,
        {{ ratio('recent_passed_count', 'recent_trial_count') }} as recent_reliability,
        {{ ratio('earlier_passed_count', 'earlier_trial_count') }} as earlier_reliability,
        {{ ratio('weighted_difference', 'weight') }} as drift,
        case
            when variance > 0 then erfc(sqrt((weighted_difference * weighted_difference / variance)::double precision / 2))
        end as drift_p_value
    from summed

),

final as (

    select
        scenarios.project_id,
        scenarios.scenario_id,
        scenarios.scenario_name,
        scenarios.dataset,
        scenarios.difficulty_level,
        scenarios.is_active,
        rated.first_activity_date,
        rated.last_activity_date,
        coalesce(rated.version_count, 0) as version_count,
        {{ list_attempt_measures('rated') }},
        coalesce(rated.unjudged_count, 0) as unjudged_count,
        rated.reliability,
        rated.reliability_low,
        rated.reliability_high,
        1 - rated.reliability as difficulty,
        rated.error_rate,
        rated.error_rate_low,
        rated.error_rate_high,
        rated.mean_score,
        rated.sd_score,
        coalesce(rated.repeated_version_count, 0) as repeated_version_count,
        rated.flakiness,
        coalesce(rated.recent_trial_count, 0) as recent_trial_count,
        rated.recent_reliability,
        coalesce(rated.earlier_trial_count, 0) as earlier_trial_count,
        rated.earlier_reliability,
        coalesce(rated.compared_version_count, 0) as compared_version_count,
        rated.drift,
        rated.drift_p_value,
        coalesce(rated.lower_bound_count, 0) > 0 as is_cost_lower_bound
    from scenarios
    left join rated
        on scenarios.project_id = rated.project_id
        and scenarios.scenario_id = rated.scenario_id

)

select * from final
