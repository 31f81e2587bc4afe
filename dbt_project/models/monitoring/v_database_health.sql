-- One row per measurement, so that what cannot be measured here is a row that says so and not an error.
with

measurements as (

    select
        'database_size' as measurement,
        case when {{ asked_by_operator() }} then pg_database_size(current_database()) end::numeric as measured,
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

    select
        'statement_statistics' as measurement,
        is_available::integer::numeric as measured,
        'available' as unit,
        case
            when is_available then 'pg_stat_statements is loaded'
            else 'pg_stat_statements is missing: add it to shared_preload_libraries and create the extension'
        end as detail
    from (
        select
            to_regclass('public.pg_stat_statements') is not null
            and current_setting('pg_stat_statements.max', true) is not null as is_available
    ) as statements

)

select * from measurements
where {{ asked_by_operator() }}
