{#- Every expression holds for every row; one that is NULL has nothing to say. Gives the rows that break one. -#}
{% test expressions_hold(model, expressions) %}

select *
from {{ model }}
where
    {% for expression in expressions -%}
        {{ 'or ' if not loop.first }}not ({{ expression }})
    {% endfor %}

{% endtest %}
