{#-
    Sums and counts over optimization runs, and what is made of them. A mean is a sum over the number of runs that
    have the value; scores measured on minibatches are counted and left out, for they compare with no others.
-#}
{% macro sum_run_measures() %}
        count(*) as total_runs,
        count(*) filter (where status = 'completed') as completed_runs,
        count(*) filter (where status = 'failed') as failed_runs,
        count(*) filter (where status = 'cancelled') as cancelled_runs,
        count(*) filter (where status in ('pending', 'running')) as unfinished_runs,
        count(final_score) filter (where evaluation_kind = 'full') as scored_runs,
        count(final_score) filter (where evaluation_kind = 'minibatch') as minibatch_scored_runs,
        sum(final_score) filter (where evaluation_kind = 'full') as final_score_sum,
        max(final_score) filter (where evaluation_kind = 'full') as max_final_score,
        count(improvement) filter (where evaluation_kind = 'full') as improvement_runs,
        sum(improvement) filter (where evaluation_kind = 'full') as improvement_sum,
        count(duration_ms) as timed_runs,
        sum(duration_ms)::bigint as total_duration_ms,
        sum(iteration_count)::bigint as total_iterations,
        sum(full_evaluation_count)::bigint as total_full_evaluations,
        sum(sample_count)::bigint as total_samples_evaluated,
        sum(successful_sample_count)::bigint as total_successful_samples,
        sum(failed_sample_count)::bigint as total_failed_samples,
        count(total_tokens) as counted_runs,
        sum(total_tokens)::bigint as total_tokens_used,
        count(total_cost_usd) as priced_runs,
        count(*) filter (where total_cost_usd is null or is_cost_lower_bound) as lower_bound_runs,
        sum(total_cost_usd) as total_cost_usd
{%- endmacro %}

{% macro list_run_measures() %}
        total_runs,
        completed_runs,
        failed_runs,
        cancelled_runs,
        unfinished_runs,
        scored_runs,
        minibatch_scored_runs,
        final_score_sum,
        max_final_score,
        improvement_runs,
        improvement_sum,
        timed_runs,
        total_duration_ms,
        total_iterations,
        total_full_evaluations,
        total_samples_evaluated,
        total_successful_samples,
        total_failed_samples,
        counted_runs,
        total_tokens_used,
        priced_runs,
        lower_bound_runs,
        total_cost_usd,
        {{ ratio('final_score_sum', 'scored_runs') }} as avg_final_score,
        {{ ratio('improvement_sum', 'improvement_runs') }} as avg_improvement,
        {{ ratio('total_duration_ms', 'timed_runs') }} as avg_duration_ms
{%- endmacro %}
