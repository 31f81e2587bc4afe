{#-
    Quantiles from sketches: counts of observations in buckets that grow by 2 %. A value and its bucket's estimate
    differ by less than 0.991 %. Counts are integers, so days can be added to a window and taken out again exactly.
-#}

{% macro sketch_growth() -%}
    1.02::double precision
{%- endmacro %}

{#- Bucket of zero: below the bucket of any positive number. -#}
{% macro zero_bucket() -%}
    (-32768)::smallint
{%- endmacro %}

{% macro sketch_bucket(value) -%}
    case
        when {{ value }} = 0 then {{ zero_bucket() }}
        else ceil(ln({{ value }}::double precision) / ln({{ sketch_growth() }}))::smallint
    end
{%- endmacro %}

{% macro sketch_value(bucket) -%}
    case
        when {{ bucket }} = {{ zero_bucket() }} then 0::double precision
        else 2 * power({{ sketch_growth() }}, {{ bucket }}) / ({{ sketch_growth() }} + 1)
    end
{%- endmacro %}

{#- Arrays of a sketch, from rows of one bucket each. Running counts reach up to and with the bucket. -#}
{% macro sketch_arrays() -%}
    array_agg(bucket order by bucket) as buckets,
    array_agg(running_count order by bucket) as running_counts,
    max(running_count) as total
{%- endmacro %}

{#-
    The quantile that percentile_cont gives, to 1 %: both neighbouring order statistics, interpolated. Needs the
    columns of sketch_arrays; a rank is found by binary search in the running counts.
-#}
{% macro sketch_quantile(share) -%}
    {%- set position = '(' ~ share ~ '::double precision * (total - 1))' -%}
    {%- set low = sketch_value('buckets[width_bucket(floor(' ~ position ~ ')::bigint, running_counts) + 1]') -%}
    {%- set high = sketch_value('buckets[width_bucket(ceil(' ~ position ~ ')::bigint, running_counts) + 1]') -%}
    {{ low }} + ({{ high }} - {{ low }}) * ({{ position }} - floor({{ position }}))
{%- endmacro %}

{#-
    Keeps a sketch of each day of the window and, where activity_date is NULL, the window's own: the sum of its
    days. A sketch is one row with two arrays, buckets and their observations; the window's row has running counts
    and their total too. Expects a CTE `fresh` (keys, activity_date, bucket, observations) with the days in scope.
    A night adds the days that were rebuilt and takes out what these days held before and the days that have left,
    so it never reads the days that stay. Days and window live in one table so that they change in one transaction.
    The keys alone tell sketches apart: the attributes follow from them, and stay out of what is sorted and grouped.
    To be used with the strategy `roll`.
-#}
{% macro rolled_sketches(keys, attributes) %}
    {%- set key_list = keys | join(', ') %}
    {%- set attribute_list = attributes | join(', ') %}

    entering as (
        select {{ key_list }}, {{ attribute_list }}, activity_date, bucket, observations
        from fresh
        where
            activity_date >= (select bounds.window_start from {{ ref('int_aggregation_window') }} as bounds)
            and activity_date <= (select bounds.window_end from {{ ref('int_aggregation_window') }} as bounds)
    ),

    movements as (
        select {{ key_list }}, {{ attribute_list }}, bucket, observations
        from entering

        {% if is_incremental() %}
            union all

            select
                {{ key_list }},
                {{ attribute_list }},
                part.bucket,
                case when activity_date is null then part.observations else -part.observations end as observations
            from {{ this }} as standing
            cross join lateral unnest(standing.buckets, standing.observations) as part (bucket, observations)
            where {{ moving_rows() }}
        {% endif %}
    ),

    window_buckets as (
        select
            {{ key_list }},
            {{ any_values(attributes) }},
            bucket,
            sum(observations)::integer as observations
        from movements
        group by {{ key_list }}, bucket
        having sum(observations) <> 0
    ),

    window_ranks as (
        select
            {{ key_list }},
            {{ attribute_list }},
            bucket,
            observations,
            sum(observations) over (partition by {{ key_list }} order by bucket) as running_count
        from window_buckets
    )

    select
        {{ key_list }},
        {{ any_values(attributes) }},
        activity_date,
        array_agg(bucket order by bucket) as buckets,
        array_agg(observations order by bucket) as observations,
        null::bigint [] as running_counts,
        sum(observations) as total
    from entering
    group by {{ key_list }}, activity_date
    union all
    select
        {{ key_list }},
        {{ any_values(attributes) }},
        null as activity_date,
        array_agg(bucket order by bucket) as buckets,
        array_agg(observations order by bucket) as observations,
        array_agg(running_count order by bucket) as running_counts,
        max(running_count) as total
    from window_ranks
    group by {{ key_list }}
{% endmacro %}

{#- Columns that are the same in all rows of a group. -#}
{% macro any_values(columns) -%}
    {% for column in columns -%}
        any_value({{ column }}) as {{ column }}{{ ', ' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- Rows of such a table that a build replaces: the window, the rebuilt days and the days that have left. -#}
{% macro moving_rows() -%}
    (
        activity_date is null
        or activity_date < (select bounds.window_start from {{ ref('int_aggregation_window') }} as bounds)
        or {{ on_rebuilt_days('activity_date') }}
    )
{%- endmacro %}

{% macro get_incremental_roll_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}

    delete from {{ arg_dict['target_relation'] }}
    where {{ moving_rows() }};

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}
