{#- A full refresh builds from the raw tables alone: with months in the archive, marts would lose their history. -#}
{% macro refuse_to_forget() %}
    {% if execute and flags.FULL_REFRESH and flags.WHICH in ('run', 'build') %}
        {% set query %}
            select count(*) as month_count
            from ops.archived_months
            where released_at is not null and relation like 'raw.%'
        {% endset %}
        {% if run_query(query)[0]['month_count'] > 0 %}
            {{ exceptions.raise_compiler_error(
                "a full refresh would forget the days whose rows are in the archive: "
                ~ "run `tracemill archive restore --all` first, then refresh"
            ) }}
        {% endif %}
    {% endif %}
{% endmacro %}
