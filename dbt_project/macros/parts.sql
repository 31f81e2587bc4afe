{#-
    Tables that are made of parts: a run, or all runs that compare. Each part says which version of its source it was
    made from, and a build makes those anew whose source has another version by now. Versions are compared for
    equality, never for order: transactions need not commit in the order of their times.

    A model describes its parts once: source (name of the model that lists them), key (columns), version (column),
    condition (which parts of the source have rows here) and numbered (whether a part may have several rows; they
    are then numbered by `place`, and the first of them stands for the part).
    It says so in `meta.part`, where the strategy `replace` finds which parts are gone; its `unique_key` is the key
    of the parts, which makes the strategy delete those that were made anew.
-#}

{#- Parts that have to be made: all that there are, or those that do not stand here in their version. -#}
{% macro outdated(part) %}

    select
        {% for column in part['key'] -%}
            source.{{ column }},
        {% endfor -%}
        source.{{ part['version'] }}
    from {{ ref(part['source']) }} as source
    where
        {{ part['condition'] }}
        {%- if is_incremental() %}
        and not exists (
            select 1
            from {{ this }} as standing
            where
                standing.{{ part['version'] }} = source.{{ part['version'] }}
                {{ 'and standing.place = 1' if part['numbered'] }}
                {%- for column in part['key'] %}
                and standing.{{ column }} = source.{{ column }}
                {%- endfor %}
        )
        {%- endif %}

{% endmacro %}

{#- Predicate on rows of the target: their part is gone from the source. -#}
{% macro vanished(part, target) -%}
    ({{ part['key'] | join(', ') }}) in (
        select
            {% for column in part['key'] -%}
                standing.{{ column }}{{ ', ' if not loop.last }}
            {%- endfor %}
        from {{ target }} as standing
        where
            {{ 'standing.place = 1 and' if part['numbered'] }} not exists (
                select 1
                from {{ ref(part['source']) }} as source
                where
                    {{ part['condition'] }}
                    {%- for column in part['key'] %}
                    and source.{{ column }} = standing.{{ column }}
                    {%- endfor %}
            )
    )
{%- endmacro %}
