{#- Share between 0 and 1, NULL where there is nothing to divide by. -#}
{% macro ratio(numerator, denominator) -%}
    ({{ numerator }})::double precision / nullif({{ denominator }}, 0)
{%- endmacro %}

{#- Cache reads over all prompt tokens, 0 to 100. -#}
{% macro cache_hit_rate(cached_tokens, input_tokens) -%}
    100 * {{ ratio(cached_tokens, input_tokens) }}
{%- endmacro %}

{#- Wilson score interval (95 %) of a share: stays within 0..1 and honest for few observations. -#}
{% macro wilson_bound(successes, trials, sign) -%}
    case
        when {{ trials }} > 0 then greatest(0, least(1, (
            {{ ratio(successes, trials) }} + 1.9207 / {{ trials }}
            {{ sign }} 1.96 * sqrt(
                {{ ratio(successes, trials) }} * (1 - {{ ratio(successes, trials) }}) / {{ trials }}
                + 0.9604 / ({{ trials }}::double precision * {{ trials }})
            )
        ) / (1 + 3.8416 / {{ trials }})))
    end
{%- endmacro %}

{% macro wilson_low(successes, trials) -%}
    {{ wilson_bound(successes, trials, '-') }}
{%- endmacro %}

{% macro wilson_high(successes, trials) -%}
    {{ wilson_bound(successes, trials, '+') }}
{%- endmacro %}

{#- Sample standard deviation from a count, a sum and a sum of squares, all exact. -#}
{% macro standard_deviation(count, total, squares) -%}
    case
        when {{ count }} > 1
            then sqrt(greatest(0, ({{ squares }} - {{ total }}::numeric * {{ total }} / {{ count }}) / ({{ count }} - 1)))
    end::double precision
{%- endmacro %}

{#- Id of a pattern: the same project and signature always give the same one. A project id holds no bar. -#}
{% macro pattern_id(project_id, pattern_signature) -%}
    md5({{ project_id }} || '|' || {{ pattern_signature }})::uuid
{%- endmacro %}
