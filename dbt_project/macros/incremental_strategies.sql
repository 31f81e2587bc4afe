{#-
    Strategy `replace`: the rows a build answers for are deleted and those it found are inserted, in one
    transaction, so that what vanished upstream vanishes here and a second run gives the same table.
    The rows it answers for are those of the rebuilt days; in a model with `meta.span`, two date columns, those
    whose span holds such a day; in one with `meta.part`, those whose part is gone from its source; in one with
    `incremental_predicates`, those. Where it has a `unique_key`, also the rows with the keys of the new ones. New
    rows are computed before the old ones go: a model may read itself.
-#}
{% macro get_incremental_replace_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set span = config.get('meta', {}).get('span') -%}
    {%- set part = config.get('meta', {}).get('part') -%}
    {%- if arg_dict['incremental_predicates'] -%}
        {%- set predicates = arg_dict['incremental_predicates'] -%}
    {%- elif part -%}
        {%- set predicates = [vanished(part, arg_dict['target_relation'])] -%}
    {%- elif span -%}
        {%- set predicates = [spanning_rebuilt_days(span[0], span[1])] -%}
    {%- else -%}
        {%- set predicates = [on_rebuilt_days('activity_date')] -%}
    {%- endif %}

    delete from {{ arg_dict['target_relation'] }}
    where {{ predicates | join(' and ') }};

    {% if arg_dict['unique_key'] %}
        -- Without statistics of the new rows the planner would read the whole table to find theirs. Of rows that share
        -- a key one looks for the old ones, or as many would be met by each.
        analyze {{ arg_dict['temp_relation'] }};
        delete from {{ arg_dict['target_relation'] }} as standing
        using (select distinct {{ arg_dict['unique_key'] | join(', ') }} from {{ arg_dict['temp_relation'] }}) as fresh
        where {% for key in arg_dict['unique_key'] %}{{ 'and ' if not loop.first }}standing.{{ key }} = fresh.{{ key }} {% endfor %};
    {% endif %}

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}

{#-
    Strategy `settle`, for tables that a build computes whole though few of their rows change: rows that are not
    exactly what the build found go, and those it found that are missing come. Rows are told apart by `unique_key`.
-#}
{% macro get_incremental_settle_sql(arg_dict) %}
    {%- set names = arg_dict['dest_columns'] | map(attribute='quoted') | list -%}
    {%- set same_key -%}
        {%- for key in arg_dict['unique_key'] -%}
            {{ 'and ' if not loop.first }}standing.{{ key }} = fresh.{{ key }} {% endfor -%}
    {%- endset %}

    -- Without statistics of the new rows the planner would take them for few.
    analyze {{ arg_dict['temp_relation'] }};

    delete from {{ arg_dict['target_relation'] }} as standing
    where not exists (
        select 1
        from {{ arg_dict['temp_relation'] }} as fresh
        where
            {{ same_key }}
            -- As text, numbers that are equal and written differently differ too.
            and row(standing.{{ names | join(', standing.') }})::text = row(fresh.{{ names | join(', fresh.') }})::text
    );

    insert into {{ arg_dict['target_relation'] }} ({{ names | join(', ') }})
    select {{ names | join(', ') }}
    from {{ arg_dict['temp_relation'] }} as fresh
    where not exists (
        select 1
        from {{ arg_dict['target_relation'] }} as standing
        where {{ same_key }}
    )
{% endmacro %}
