{#- Schemas are named as configured, without a prefix: analysts type marts.daily_command_stats. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}
