{#-
    A night rebuilds the UTC days in ops.aggregation_days and no others.

    The list is read when a model is compiled and written into its SQL as literal ranges, because only constants
    let PostgreSQL prune monthly partitions and use the BRIN indexes while it plans. An empty list gives `false`:
    the build then changes nothing.
-#}

{#- The list: not a source, because it says what to do and holds no data. -#}
{% macro aggregation_days() -%}
    ops.aggregation_days
{%- endmacro %}

{#- Ranges of consecutive days, as pairs of ISO dates (first day, day after the last). -#}
{% macro rebuilt_ranges() %}
    {% set query %}
        select min(activity_date)::text as first_date, (max(activity_date) + 1)::text as end_date
        from (
            select activity_date, activity_date - (row_number() over (order by activity_date))::integer as island
            from {{ aggregation_days() }}
        ) as listed
        group by island
        order by 1
    {% endset %}
    {% set ranges = [] %}
    {% if execute %}
        {% for row in run_query(query) %}
            {% do ranges.append((row['first_date'], row['end_date'])) %}
        {% endfor %}
    {% endif %}
    {% do return(ranges) %}
{% endmacro %}

{#- Predicate: the date column lies on a listed day. -#}
{% macro on_rebuilt_days(date_column) -%}
    {%- set predicates = [] -%}
    {%- for first_date, end_date in rebuilt_ranges() -%}
        {%- do predicates.append(
            date_column ~ " >= date '" ~ first_date ~ "' and " ~ date_column ~ " < date '" ~ end_date ~ "'"
        ) -%}
    {%- endfor -%}
    ({{ predicates | join(' or ') if predicates else 'false' }})
{%- endmacro %}

{#- Predicate: the span between the two date columns, both included, holds a listed day. -#}
{% macro spanning_rebuilt_days(first_column, last_column) -%}
    {%- set predicates = [] -%}
    {%- for first_date, end_date in rebuilt_ranges() -%}
        {%- do predicates.append(
            last_column ~ " >= date '" ~ first_date ~ "' and " ~ first_column ~ " < date '" ~ end_date ~ "'"
        ) -%}
    {%- endfor -%}
    ({{ predicates | join(' or ') if predicates else 'false' }})
{%- endmacro %}

{#- Predicate: the timestamptz column lies on a listed day. -#}
{% macro during_rebuilt_days(timestamp_column) -%}
    {%- set predicates = [] -%}
    {%- for first_date, end_date in rebuilt_ranges() -%}
        {%- do predicates.append(
            timestamp_column ~ " >= timestamptz '" ~ first_date ~ " 00:00:00+00' and "
            ~ timestamp_column ~ " < timestamptz '" ~ end_date ~ " 00:00:00+00'"
        ) -%}
    {%- endfor -%}
    ({{ predicates | join(' or ') if predicates else 'false' }})
{%- endmacro %}

{#- Predicate: the timestamptz column lies on a listed day or on one beside it. -#}
{% macro around_rebuilt_days(timestamp_column) -%}
    {%- set a_day = modules.datetime.timedelta(days=1) -%}
    {%- set predicates = [] -%}
    {%- for first_date, end_date in rebuilt_ranges() -%}
        {%- do predicates.append(
            timestamp_column ~ " >= timestamptz '" ~ (modules.datetime.date.fromisoformat(first_date) - a_day)
            ~ " 00:00:00+00' and " ~ timestamp_column ~ " < timestamptz '"
            ~ (modules.datetime.date.fromisoformat(end_date) + a_day) ~ " 00:00:00+00'"
        ) -%}
    {%- endfor -%}
    ({{ predicates | join(' or ') if predicates else 'false' }})
{%- endmacro %}

{#- The same for models: everything while the table does not exist yet or is refreshed in full. -#}
{% macro in_scope(timestamp_column) -%}
    {{ during_rebuilt_days(timestamp_column) if is_incremental() else 'true' }}
{%- endmacro %}

{% macro near_scope(timestamp_column) -%}
    {{ around_rebuilt_days(timestamp_column) if is_incremental() else 'true' }}
{%- endmacro %}

{% macro date_in_scope(date_column) -%}
    {{ on_rebuilt_days(date_column) if is_incremental() else 'true' }}
{%- endmacro %}

{#- For tests: the listed days, or all of history with `--vars 'reconcile_all_days: true'`. -#}
{% macro date_to_check(date_column) -%}
    {{ 'true' if var('reconcile_all_days') else on_rebuilt_days(date_column) }}
{%- endmacro %}

{% macro time_to_check(timestamp_column) -%}
    {{ 'true' if var('reconcile_all_days') else during_rebuilt_days(timestamp_column) }}
{%- endmacro %}

{#- Lets a generic test say `where: on_rebuilt_days COLUMN` and read only rows of the days just rebuilt. -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where') -%}
    {%- if where and where.startswith('on_rebuilt_days ') -%}
        (select * from {{ relation }} where {{ date_to_check(where.split(' ')[1]) }}) as rebuilt
    {%- elif where -%}
        (select * from {{ relation }} where {{ where }}) as filtered
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}
