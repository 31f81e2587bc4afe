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

{#-
    The quantile that percentile_cont gives, to 1 %: both neighbouring order statistics, interpolated. To be used
    in a grouped query over buckets with the columns estimate, running_count (up to and with the bucket), total.
-#}
{% macro sketch_quantile(share) -%}
    min(estimate) filter (where running_count > floor({{ share }}::double precision * (total - 1)))
    + (
        min(estimate) filter (where running_count > ceil({{ share }}::double precision * (total - 1)))
        - min(estimate) filter (where running_count > floor({{ share }}::double precision * (total - 1)))
    ) * max({{ share }}::double precision * (total - 1) - floor({{ share }}::double precision * (total - 1)))
{%- endmacro %}

{#-
    Keeps a sketch of each day of the window and, where activity_date is NULL, the window's own: the sum of its
    days. Expects a CTE `fresh` (keys, activity_date, bucket, observations) with the days in scope. A night adds
    the days that were rebuilt and takes out what these days held before and the days that have left; buckets
    that do not change are not touched. Both live in one table so that they change in one transaction.
    To be used with the strategy `roll`.
-#}
{% macro rolled_sketches(keys) %}
    {%- set key_list = keys | join(', ') %}

    days as (
        select {{ key_list }}, activity_date, bucket, observations
        from fresh
        where
            activity_date >= (select bounds.window_start from {{ ref('int_aggregation_window') }} as bounds)
            and activity_date <= (select bounds.window_end from {{ ref('int_aggregation_window') }} as bounds)
    ),

    {% if is_incremental() %}
        withdrawn as (
            select {{ key_list }}, bucket, observations
            from {{ this }}
            where
                activity_date < (select bounds.window_start from {{ ref('int_aggregation_window') }} as bounds)
                or {{ on_rebuilt_days('activity_date') }}
        ),

        movements as (
            select {{ key_list }}, bucket, observations
            from days
            union all
            select {{ key_list }}, bucket, -observations
            from withdrawn
        ),

        changes as (
            select {{ key_list }}, bucket, sum(observations)::bigint as observations
            from movements
            group by {{ key_list }}, bucket
            having sum(observations) <> 0
        ),

        window_totals as (
            select
                {% for key in keys %}changes.{{ key }}, {% endfor %}
                changes.bucket,
                changes.observations + coalesce(standing.observations, 0) as observations
            from changes
            left join {{ this }} as standing
                on standing.activity_date is null
                {% for key in keys %}and changes.{{ key }} = standing.{{ key }} {% endfor %}
                and changes.bucket = standing.bucket
        )
    {% else %}
        window_totals as (
            select {{ key_list }}, bucket, sum(observations)::bigint as observations
            from days
            group by {{ key_list }}, bucket
        )
    {% endif %}

    select {{ key_list }}, activity_date, bucket, observations
    from days
    union all
    select {{ key_list }}, null as activity_date, bucket, observations
    from window_totals
{% endmacro %}

{#-
    Strategy `roll` for the above: rebuilt days and days that have left are deleted, totals that changed are
    replaced, and a total that came down to zero is not inserted again. The keys are the model's unique_key.
-#}
{% macro get_incremental_roll_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}

    delete from {{ arg_dict['target_relation'] }}
    where
        activity_date < (select bounds.window_start from {{ ref('int_aggregation_window') }} as bounds)
        or {{ on_rebuilt_days('activity_date') }};

    delete from {{ arg_dict['target_relation'] }} as standing
    using {{ arg_dict['temp_relation'] }} as changed
    where
        standing.activity_date is null
        and changed.activity_date is null
        {% for key in arg_dict['unique_key'] %}and standing.{{ key }} = changed.{{ key }} {% endfor %};

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
    where observations > 0
{% endmacro %}
