{#-
    Rows of project and day where two sums differ: `measured` and `expected` are CTEs with project_id,
    activity_date and the measures. Days whose raw rows changed again after the build was planned are left out:
    they wait for the next one.
-#}
{% macro differences(measured, expected, measures, tolerance='0') %}

    select
        coalesce(measured.project_id, expected.project_id) as project_id,
        coalesce(measured.activity_date, expected.activity_date) as activity_date,
        {% for measure in measures -%}
            measured.{{ measure }} as measured_{{ measure }},
            expected.{{ measure }} as expected_{{ measure }}{{ ',' if not loop.last }}
        {% endfor %}
    from {{ measured }} as measured
    full join {{ expected }} as expected
        on measured.project_id = expected.project_id
        and measured.activity_date = expected.activity_date
    where
        (
            {% for measure in measures -%}
                {{ 'or ' if not loop.first -}}
                abs(coalesce(measured.{{ measure }}, 0) - coalesce(expected.{{ measure }}, 0)) > {{ tolerance }}
            {% endfor %}
        )
        and not exists (
            select 1
            from ops.touched_days as touched
            inner join ops.aggregation_days as planned on touched.activity_date = planned.activity_date
            where
                touched.project_id = coalesce(measured.project_id, expected.project_id)
                and touched.activity_date = coalesce(measured.activity_date, expected.activity_date)
                and touched.touched_at > planned.planned_at
        )

{% endmacro %}

{#- Measures summed by project and day, as CTE bodies for the above. -#}
{% macro summed_by_day(relation, measures, condition) %}

    select
        project_id,
        activity_date,
        {% for measure in measures -%}
            sum({{ measure }}) as {{ measure }}{{ ',' if not loop.last }}
        {% endfor %}
    from {{ relation }}
    where {{ condition }}
    group by project_id, activity_date

{% endmacro %}
