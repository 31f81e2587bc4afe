{#-
    The additive measures of attempts at scenarios, the same in every mart of evaluations. Each sum comes with the
    number of attempts that it is about: an attempt without a score, a verdict, a time or a price is in none of them.
    Sums of fractions are numeric, so that they do not depend on the order in which days are added.
-#}
{% macro attempt_measures() %}
    {% do return([
        'attempt_count', 'success_count', 'error_count', 'timeout_count', 'cancelled_count',
        'judged_count', 'passed_count', 'failed_count', 'scored_count', 'score_sum', 'score_squares',
        'timed_count', 'duration_ms', 'counted_count', 'total_tokens',
        'costed_count', 'cost_usd', 'unpriced_count', 'lower_bound_count', 'retry_count',
        'wasted_cost_usd', 'wasted_ms'
    ]) %}
{% endmacro %}

{#- The measures from single attempts (columns of int_version_outcomes). -#}
{% macro sum_attempts() %}
    count(*) as attempt_count,
    {% for status in ['success', 'error', 'timeout', 'cancelled'] -%}
        count(*) filter (where status = '{{ status }}') as {{ status }}_count,
    {% endfor -%}
    count(is_passed) as judged_count,
    count(*) filter (where is_passed) as passed_count,
    count(*) filter (where not is_reliable) as failed_count,
    count(score) as scored_count,
    sum(score) as score_sum,
    sum(score * score) as score_squares,
    count(duration_ms) as timed_count,
    sum(duration_ms) as duration_ms,
    count(total_tokens) as counted_count,
    sum(total_tokens)::bigint as total_tokens,
    count(cost_usd) as costed_count,
    sum(cost_usd) as cost_usd,
    count(*) filter (where is_unpriced) as unpriced_count,
    count(*) filter (where is_cost_lower_bound) as lower_bound_count,
    sum(retry_count)::bigint as retry_count,
    sum(cost_usd) filter (where not is_reliable) as wasted_cost_usd,
    sum(duration_ms) filter (where not is_reliable) as wasted_ms
{%- endmacro %}

{#- The measures from sums of a finer grain. -#}
{% macro sum_attempt_measures() %}
    {% for measure in attempt_measures() -%}
        {% if measure.endswith('_count') or measure == 'total_tokens' -%}
            sum({{ measure }})::bigint as {{ measure }}
        {%- else -%}
            sum({{ measure }}) as {{ measure }}
        {%- endif %}
        {%- if not loop.last %},{% endif %}
    {% endfor %}
{%- endmacro %}

{#- Measures by name; with a relation, those of a left join, in which what was not counted is 0. -#}
{% macro list_attempt_measures(relation=none) %}
    {% for measure in attempt_measures() -%}
        {% if relation and measure.endswith('_count') -%}
            coalesce({{ relation }}.{{ measure }}, 0) as {{ measure }}
        {%- elif relation -%}
            {{ relation }}.{{ measure }}
        {%- else -%}
            {{ measure }}
        {%- endif %}
        {%- if not loop.last %},{% endif %}
    {% endfor %}
{%- endmacro %}

{#- Attempts known to be good or bad; none where nobody judges, for then errors alone are known. -#}
{% macro trial_count(relation=none) -%}
    {%- set prefix = relation ~ '.' if relation else '' -%}
    (case when {{ prefix }}judged_count > 0 then {{ prefix }}passed_count + {{ prefix }}failed_count else 0 end)
{%- endmacro %}

{#- Rates that follow from the measures of the same row. -#}
{% macro attempt_rates() %}
    attempt_count - passed_count - failed_count as unjudged_count,
    {{ ratio('passed_count', trial_count()) }} as reliability,
    {{ wilson_low('passed_count', trial_count()) }} as reliability_low,
    {{ wilson_high('passed_count', trial_count()) }} as reliability_high,
    {{ ratio('error_count + timeout_count', ended_count()) }} as error_rate,
    {{ wilson_low('(error_count + timeout_count)', ended_count()) }} as error_rate_low,
    {{ wilson_high('(error_count + timeout_count)', ended_count()) }} as error_rate_high,
    {{ ratio('score_sum', 'scored_count') }} as mean_score
{%- endmacro %}

{#- Attempts that ended by themselves: the denominator of error rates. -#}
{% macro ended_count() -%}
    (success_count + error_count + timeout_count)
{%- endmacro %}

{#-
    Ends of Newcombe's 95 % interval of a difference of two independent shares, from the Wilson intervals of both:
    honest for few observations, as they are.
-#}
{% macro newcombe_low(after, before) -%}
    {{ after }}.reliability - {{ before }}.reliability - sqrt(
        power({{ after }}.reliability - {{ after }}.reliability_low, 2)
        + power({{ before }}.reliability_high - {{ before }}.reliability, 2)
    )
{%- endmacro %}

{% macro newcombe_high(after, before) -%}
    {{ after }}.reliability - {{ before }}.reliability + sqrt(
        power({{ after }}.reliability_high - {{ after }}.reliability, 2)
        + power({{ before }}.reliability - {{ before }}.reliability_low, 2)
    )
{%- endmacro %}

{#-
    Keys of a table kept by days whose rows have to be summed again: those with rows on the rebuilt days, and those
    that the model holds and whose span covers such a day, in case their rows there are gone.
-#}
{% macro affected_keys(days, keys) %}
    select distinct {{ keys | join(', ') }}
    from {{ days }}
    where {{ date_in_scope('activity_date') }}

    {% if is_incremental() %}
        union distinct

        select {{ keys | join(', ') }}
        from {{ this }}
        where {{ spanning_rebuilt_days('first_activity_date', 'last_activity_date') }}
    {% endif %}
{% endmacro %}

{% macro same_keys(one, other, keys) -%}
    {% for key in keys -%}
        {{ one }}.{{ key }} = {{ other }}.{{ key }}{{ ' and ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
