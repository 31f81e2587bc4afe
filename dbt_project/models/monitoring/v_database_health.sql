-- One row per measurement, so that what cannot be measured here is a row that says so and not an error.
{%- set has_statements = false %}
{%- if execute %}
    {%- set has_statements = run_query("select to_regclass('public.pg_stat_statements') is not null as has")
        .columns[0].values()[0] %}
{%- endif %}

with

measurements as (

    select
        'database_size' as measurement,
        pg_database_size(current_database())::numeric as measured,
        'bytes' as unit,
        current_database()::text as detail

    union all

    select
        'connections' as measurement,
        count(*)::numeric as measured,
        'connections' as unit,
        'of ' || current_setting('max_connections') as detail
    from pg_stat_activity
    where datname = current_database()

    union all

    select
        'cache_hit_ratio' as measurement,
        round(blks_hit::numeric / nullif(blks_hit + blks_read, 0), 4) as measured,
        'share' as unit,
        'blocks found in shared buffers since the statistics were reset' as detail
    from pg_stat_database
    where datname = current_database()

    union all

    select
        'dead_row_share' as measurement,
        round(sum(n_dead_tup)::numeric / nullif(sum(n_live_tup + n_dead_tup), 0), 4) as measured,
        'share' as unit,
        'rows that vacuum has still to remove, all tables' as detail
    from pg_stat_user_tables

    union all

    select
        'oldest_transaction' as measurement,
        round(extract(epoch from max(now() - xact_start))::numeric, 3) as measured,
        'seconds' as unit,
        'age of the longest transaction visible to the caller' as detail
    from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()

    union all

    {% if has_statements -%}
        select
            'statement_statistics' as measurement,
            1::numeric as measured,
            'available' as unit,
            'pg_stat_statements is installed' as detail
    {%- else -%}
        select
            'statement_statistics' as measurement,
            0::numeric as measured,
            'available' as unit,
            'pg_stat_statements is missing: preload it (shared_preload_libraries) and create the extension' as detail
    {%- endif %}

)

select * from measurements
