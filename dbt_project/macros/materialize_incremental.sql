{#-
    A full refresh replaces the rows of a standing table in one transaction. dbt's own way swaps the table and then
    drops the old one by cascade, and with it every view that reads it: monitoring would be gone until its models are
    built again. A table whose columns no longer fit is still swapped; changed indexes need the table dropped first.
-#}
{% materialization incremental, adapter='postgres' %}
    {%- set standing = load_cached_relation(this) -%}
    {% if standing is none or not standing.is_table or not should_full_refresh() %}
        {{ return(dbt.materialization_incremental_default()) }}
    {% endif %}

    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set fresh = make_temp_relation(target_relation) -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% do run_query(get_create_table_as_sql(True, fresh, sql)) %}
    {% if described_columns(fresh) != described_columns(standing) %}
        {% do run_query('drop table ' ~ fresh) %}
        {{ return(dbt.materialization_incremental_default()) }}
    {% endif %}

    {%- set columns = get_quoted_csv(adapter.get_columns_in_relation(fresh) | map(attribute='name')) -%}
    {% call statement('main') %}
        delete from {{ target_relation }};
        insert into {{ target_relation }} ({{ columns }})
        select {{ columns }}
        from {{ fresh }}
    {% endcall %}

    {% do persist_docs(target_relation, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#- Names and types, in any order. -#}
{% macro described_columns(relation) %}
    {%- set described = [] -%}
    {%- for column in adapter.get_columns_in_relation(relation) -%}
        {%- do described.append(column.name ~ ' ' ~ column.data_type) -%}
    {%- endfor -%}
    {{ return(described | sort) }}
{% endmacro %}
