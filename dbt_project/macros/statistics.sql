{#- Share between 0 and 1, NULL where there is nothing to divide by. -#}
{% macro ratio(numerator, denominator) -%}
    ({{ numerator }})::double precision / nullif({{ denominator }}, 0)
{%- endmacro %}

{#- Cache reads over all prompt tokens, 0 to 100. -#}
{% macro cache_hit_rate(cached_tokens, input_tokens) -%}
    100 * {{ ratio(cached_tokens, input_tokens) }}
{%- endmacro %}

{#-
    Ends of the Wilson score interval (95 %, z = 1.96) of a share: within 0..1 and honest for few observations.
    The share itself bounds them, against rounding where it is 0 or 1. NULL without trials.
-#}
{% macro wilson_low(successes, trials) -%}
    least({{ ratio(successes, trials) }}, {{ wilson_end(successes, trials, '-') }})
{%- endmacro %}

{% macro wilson_high(successes, trials) -%}
    greatest({{ ratio(successes, trials) }}, {{ wilson_end(successes, trials, '+') }})
{%- endmacro %}

{% macro wilson_end(successes, trials, sign) -%}
    (
        {{ successes }} + 1.9208
        {{ sign }} 1.96 * sqrt(
            ({{ successes }}) * ({{ trials }} - ({{ successes }}))::double precision / nullif({{ trials }}, 0) + 0.9604
        )
    ) / (nullif({{ trials }}, 0) + 3.8416)
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

{#- Id of a workspace, made the same way. -#}
{% macro workspace_id(project_id, workspace_path) -%}
    md5({{ project_id }} || '|' || {{ workspace_path }})::uuid
{%- endmacro %}

{#- Id of a level of a feature of a command, whatever characters they hold. -#}
{% macro level_id(project_id, command_base, feature, level) -%}
    md5(jsonb_build_array({{ project_id }}, {{ command_base }}, {{ feature }}, {{ level }})::text)::uuid
{%- endmacro %}

{#-
    Two-sided p-value of the Mann-Whitney U test, by the normal approximation with correction for ties and for
    continuity: `u` of two groups of n and m, and the sum of t^3 - t over groups of t tied observations. 1 where all
    are tied.
-#}
{% macro mann_whitney_p(u, n, m, ties) -%}
    case
        when {{ ties }} >= ({{ n }} + {{ m }})::double precision * ({{ n }} + {{ m }} - 1) * ({{ n }} + {{ m }} + 1) then 1
        else least(1, erfc(
            (abs({{ u }} - {{ n }}::double precision * {{ m }} / 2) - 0.5)
            / sqrt(
                {{ n }}::double precision * {{ m }} / 6
                * ({{ n }} + {{ m }} + 1 - {{ ties }} / (({{ n }} + {{ m }})::double precision * ({{ n }} + {{ m }} - 1)))
            )
        ))
    end
{%- endmacro %}

{#-
    97.5 % quantile of Student's t, for 95 % intervals: Fisher's expansion about that of the normal distribution,
    within 0.1 % of exact from six degrees of freedom on.
-#}
{% macro t_975(freedom) -%}
    (1.959964 + 2.372271 / {{ freedom }} + 2.822500 / {{ freedom }} ^ 2 + 2.555850 / {{ freedom }} ^ 3 + 1.589536 / {{ freedom }} ^ 4)
{%- endmacro %}
