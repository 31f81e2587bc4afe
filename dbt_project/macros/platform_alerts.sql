{#-
    The conditions of v_alerts that concern the platform and no project, one CTE each, with the columns of that
    view, which shows them to operators only.
-#}
{% macro platform_alerts() %}
coverage as (

    {{ partition_coverage(var('alert_months_ahead')) }}

),

database_size as (

    select
        'database_size' as alert,
        'warning' as severity,
        null::text as project_id,
        measured.database_name as subject,
        format(
            'The database holds %s; the limit is %s.',
            pg_size_pretty(measured.size_bytes), pg_size_pretty({{ var('alert_database_size_bytes') }}::bigint)
        ) as summary,
        jsonb_build_object(
            'size_bytes', measured.size_bytes, 'limit_bytes', {{ var('alert_database_size_bytes') }}
        ) as evidence,
        'tracemill maintain --plan --job apply_retention' as command
    from (
        select
            current_database()::text as database_name,
            case when {{ asked_by_operator() }} then pg_database_size(current_database()) end as size_bytes
    ) as measured
    where measured.size_bytes > {{ var('alert_database_size_bytes') }}

),

connection_use as (

    select
        'connection_use' as alert,
        case
            when used.share >= {{ var('alert_connection_share_critical') }} then 'critical' else 'warning'
        end as severity,
        null::text as project_id,
        'server' as subject,
        format('%s of %s connections are in use.', used.connection_count, used.connection_limit) as summary,
        jsonb_build_object(
            'connections', used.connection_count, 'limit', used.connection_limit,
            'share', round(used.share, 3), 'limit_share', {{ var('alert_connection_share') }}
        ) as evidence,
        'tracemill db shell, then: select pid, usename, application_name, state, state_change from pg_stat_activity '
        || 'order by state_change' as command
    from (
        select
            sum(numbackends) as connection_count,
            current_setting('max_connections')::integer as connection_limit,
            sum(numbackends)::numeric / current_setting('max_connections')::integer as share
        from pg_stat_database
    ) as used
    where used.share >= {{ var('alert_connection_share') }}

),

slow_statements as (

    select
        'average' as kind,
        role_name::text as role_name,
        round(mean_ms::numeric) as duration_ms,
        calls,
        left(statement, 200) as statement
    from ops.statement_statistics()
    where
        not is_platform
        and mean_ms > {{ var('alert_slow_query_ms') }}
        and calls >= {{ var('alert_slow_query_min_calls') }}
    union all
    select
        'running' as kind,
        usename::text as role_name,
        round(1000 * extract(epoch from now() - query_start)) as duration_ms,
        1 as calls,
        null::text as statement
    from pg_stat_activity
    where
        datname = current_database()
        and state = 'active'
        and backend_type = 'client backend'
        and not pg_has_role(usesysid, 'tracemill_owner', 'member')
        and now() - query_start > interval '1 millisecond' * {{ var('alert_slow_query_ms') }}

),

slow_queries as (

    select
        'slow_queries' as alert,
        'warning' as severity,
        null::text as project_id,
        'statements' as subject,
        format('%s statements take longer than %s ms.', count(*), {{ var('alert_slow_query_ms') }}) as summary,
        jsonb_build_object(
            'statements', count(*), 'limit_ms', {{ var('alert_slow_query_ms') }}, 'longest_ms', max(duration_ms),
            'slowest', (jsonb_agg(to_jsonb(slow_statements) order by duration_ms desc)) -> 0
        ) as evidence,
        'tracemill db shell, then: select * from v_slow_queries where is_slow; '
        || 'when mended: select pg_stat_statements_reset()' as command
    from slow_statements
    having count(*) > 0

),

missing_partition as (

    select
        'missing_partition' as alert,
        'warning' as severity,
        null::text as project_id,
        to_char(missing.month, 'YYYY-MM') as subject,
        format('%s tables have no partition for %s.', count(*), to_char(missing.month, 'YYYY-MM')) as summary,
        jsonb_build_object(
            'tables', jsonb_agg(coverage.relation order by coverage.relation),
            'months_ahead', {{ var('alert_months_ahead') }}
        ) as evidence,
        'tracemill maintain --apply --job maintain_partitions' as command
    from coverage
    cross join lateral unnest(coverage.missing_months) as missing (month)
    group by missing.month

),

rows_in_default as (

    select
        'rows_in_default' as alert,
        'critical' as severity,
        null::text as project_id,
        relation as subject,
        format('%s rows of %s lie outside every month and block theirs.', default_row_count, relation) as summary,
        jsonb_build_object('rows', default_row_count, 'months', to_jsonb(default_months)) as evidence,
        'tracemill maintain --apply --job maintain_partitions' as command
    from coverage
    where default_row_count > 0

),

unprotected_relation as (

    select
        'unprotected_relation' as alert,
        'critical' as severity,
        null::text as project_id,
        relation as subject,
        format('Tenants can read rows of other projects in %s.', relation) as summary,
        jsonb_build_object(
            'kind', kind, 'is_row_security', is_row_security, 'is_row_security_forced', is_row_security_forced,
            'policies', policy_count
        ) as evidence,
        'tracemill db migrate, then: tracemill aggregate' as command
    from ({{ relation_protection() }}) as relations
    where not is_protected

)
{% endmacro %}
