-- Attempts, verdicts, scores, tokens, time and cost of error_rates_daily are those of the raw outcomes, day by day.
{%- set measures = [
    'attempt_count', 'error_count', 'passed_count', 'scored_count', 'score_sum', 'duration_ms', 'total_tokens',
    'cost_usd', 'unpriced_count',
] %}

with

outcomes as (

    select
        project_id,
        activity_date,
        1 as attempt_count,
        (status = 'error')::integer as error_count,
        is_passed::integer as passed_count,
        (score is not null)::integer as scored_count,
        score as score_sum,
        duration_ms,
        total_tokens,
        cost_usd,
        is_unpriced::integer as unpriced_count
    from {{ ref('stg_tracemill__outcomes') }}
    where {{ time_to_check('executed_at') }}

),

expected as ({{ summed_by_day('outcomes', measures, 'true') }}),

measured as (
    {{ summed_by_day(ref('error_rates_daily'), measures, date_to_check('activity_date')) }}
),

different as ({{ differences('measured', 'expected', measures) }})

select * from different
