{{ config(incremental_strategy='settle', unique_key=['calendar_date'], meta={'is_shared': true}) }}

-- From 2020 to two years after the last day covered, and every day outside of that on which something is said to have
-- happened: a log with a wrong clock must not lose its date.
with

bounds as (

    select
        date '2020-01-01' as first_date,
        (date_trunc('year', coalesce(max(window_end), date '2025-01-01')) + interval '3 years - 1 day')::date as last_date
    from {{ ref('int_aggregation_window') }}

),

{% set facts = ['int_pattern_days', 'project_spend_daily', 'tool_usage_daily'] %}
-- Days outside that stand here are looked up one by one, so that a night reads no fact whole.
calendar as (

    select generate_series(first_date::timestamp, last_date, interval '1 day')::date as calendar_date
    from bounds

    {% for fact in facts -%}
        union distinct

        select activity_date as calendar_date
        from {{ ref(fact) }}
        where
            {{ date_in_scope('activity_date') }}
            and activity_date not between
            (select bounds.first_date from bounds) and (select bounds.last_date from bounds)

        {% if is_incremental() %}
            union distinct

            select standing.calendar_date
            from {{ this }} as standing
            cross join lateral (
                select facts.activity_date
                from {{ ref(fact) }} as facts
                where facts.activity_date = standing.calendar_date
                group by facts.activity_date
            ) as facts
            where
                standing.calendar_date not between
                (select bounds.first_date from bounds) and (select bounds.last_date from bounds)
        {% endif %}
    {% endfor %}
),

final as (

    select
        calendar_date,
        extract(year from calendar_date)::integer as year_number,
        extract(quarter from calendar_date)::integer as quarter_number,
        extract(month from calendar_date)::integer as month_number,
        extract(day from calendar_date)::integer as day_of_month,
        extract(doy from calendar_date)::integer as day_of_year,
        extract(isoyear from calendar_date)::integer as iso_year,
        extract(week from calendar_date)::integer as iso_week,
        extract(isodow from calendar_date)::integer as iso_weekday,
        to_char(calendar_date, 'FMMonth') as month_name,
        to_char(calendar_date, 'FMDay') as weekday_name,
        extract(isodow from calendar_date) >= 6 as is_weekend,
        date_trunc('week', calendar_date)::date as week_start_date,
        date_trunc('month', calendar_date)::date as month_start_date,
        (date_trunc('month', calendar_date) + interval '1 month - 1 day')::date as month_end_date,
        date_trunc('quarter', calendar_date)::date as quarter_start_date
    from calendar

)

select * from final
