{#-
    The additive measures of executions, the same in every mart. Rates are never stored without them: a rate of a
    larger group is the ratio of these sums, not the mean of rates.
-#}
{% macro usage_measures() %}
    {% do return([
        'execution_count', 'completed_count', 'failed_count', 'timeout_count', 'cancelled_count', 'pending_count',
        'orphan_count', 'request_count', 'tool_call_count', 'tool_error_count',
        'total_tokens', 'input_tokens', 'output_tokens', 'cached_tokens', 'fresh_tokens',
        'cache_creation_tokens', 'cache_creation_5m_tokens', 'cache_creation_1h_tokens',
        'cost_usd', 'fresh_cost_usd', 'cache_savings_usd', 'unpriced_count', 'lower_bound_count', 'execution_time_ms'
    ]) %}
{% endmacro %}

{#- The measures from single executions (columns of stg_tracemill__command_executions). -#}
{% macro sum_executions() %}
    count(*) as execution_count,
    {% for status in ['completed', 'failed', 'timeout', 'cancelled', 'pending'] -%}
        count(*) filter (where status = '{{ status }}') as {{ status }}_count,
    {% endfor -%}
    count(*) filter (where is_orphan) as orphan_count,
    {% for measure in usage_measures()[7:18] -%}
        sum({{ measure }})::bigint as {{ measure }},
    {% endfor -%}
    sum(cost_usd) as cost_usd,
    sum(fresh_cost_usd) as fresh_cost_usd,
    sum(cache_savings_usd) as cache_savings_usd,
    count(*) filter (where is_unpriced) as unpriced_count,
    count(*) filter (where is_cost_lower_bound) as lower_bound_count,
    sum(execution_time_ms)::bigint as execution_time_ms
{%- endmacro %}

{#- The measures from sums of a finer grain. -#}
{% macro sum_measures() %}
    {% for measure in usage_measures() -%}
        {% if measure.endswith('_usd') -%}
            sum({{ measure }}) as {{ measure }}
        {%- else -%}
            sum({{ measure }})::bigint as {{ measure }}
        {%- endif %}
        {%- if not loop.last %},{% endif %}
    {% endfor %}
{%- endmacro %}

{#- Measures by name, qualified where asked. -#}
{% macro list_measures(relation=none) %}
    {% for measure in usage_measures() -%}
        {{ relation ~ '.' if relation }}{{ measure }}{{ ',' if not loop.last }}
    {% endfor %}
{%- endmacro %}

{#- Executions that came to an end of any kind: the denominator of success and error rates. -#}
{% macro finished_count() -%}
    (completed_count + failed_count + timeout_count + cancelled_count)
{%- endmacro %}

{#- Rates that follow from the measures of the same row. -#}
{% macro outcome_rates() %}
    {{ ratio('completed_count', finished_count()) }} as success_rate,
    {{ ratio('failed_count + timeout_count', finished_count()) }} as error_rate,
    {{ wilson_low('(failed_count + timeout_count)', finished_count()) }} as error_rate_low,
    {{ wilson_high('(failed_count + timeout_count)', finished_count()) }} as error_rate_high
{%- endmacro %}

{#- The additive measures of API responses (columns of stg_tracemill__model_requests). -#}
{% macro sum_requests() %}
    count(*) filter (where kind = 'response') as request_count,
    count(*) filter (where kind = 'remainder') as remainder_count,
    {% for measure in request_token_measures() -%}
        sum({{ measure }})::bigint as {{ measure }},
    {% endfor -%}
    {% for measure in request_cost_measures() -%}
        sum({{ measure }}) as {{ measure }},
    {% endfor -%}
    count(*) filter (where cost_status = 'unpriced') as unpriced_count,
    count(*) filter (where is_cost_lower_bound) as lower_bound_count
{%- endmacro %}

{% macro request_token_measures() %}
    {% do return([
        'total_tokens', 'input_tokens', 'uncached_input_tokens', 'cache_creation_tokens', 'cache_creation_5m_tokens',
        'cache_creation_1h_tokens', 'cache_read_tokens', 'output_tokens'
    ]) %}
{% endmacro %}

{% macro request_cost_measures() %}
    {% do return([
        'cost_usd', 'input_cost_usd', 'cache_write_cost_usd', 'cache_read_cost_usd', 'output_cost_usd',
        'tool_cost_usd', 'cache_savings_usd'
    ]) %}
{% endmacro %}
