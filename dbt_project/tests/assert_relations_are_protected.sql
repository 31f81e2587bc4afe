-- No relation that a tenant's role may read lets it see another project: tables force row-level security with a
-- policy of their own, views read with the rights of whoever asks. Reads the catalogue, after all marts are built.
{% for mart in [
    'config_version_performance', 'config_diff_impact', 'scenario_reliability', 'tool_performance', 'failure_summary',
    'error_rates_daily',
    'daily_command_stats', 'session_summary', 'command_patterns', 'cache_effectiveness', 'model_usage_daily',
    'hourly_token_usage', 'project_spend_daily', 'command_costs', 'tool_usage_daily', 'command_pattern_history',
    'cost_forecast', 'budget_status', 'source_reconciliation', 'dim_dates', 'dim_workspaces', 'v_ingest_health',
    'v_mart_freshness', 'v_database_health', 'v_active_simulations', 'v_alerts', 'v_error_rates', 'v_index_usage',
    'v_partition_coverage', 'v_rls_coverage', 'v_slow_queries', 'v_system_performance', 'v_table_sizes',
    'optimization_run_analytics', 'optimization_leaderboard', 'optimization_progress', 'optimizer_comparison',
    'optimization_daily_trend',
] -%}
    -- depends_on: {{ ref(mart) }}
{% endfor %}
with

relations as (

    select
        c.oid,
        c.oid::regclass::text as relation,
        c.relkind,
        c.relrowsecurity and c.relforcerowsecurity as is_secured,
        coalesce('security_invoker=true' = any(c.reloptions), false) as is_invoker
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where n.nspname in ('staging', 'intermediate', 'marts', 'monitoring') and c.relkind in ('r', 'v', 'm', 'p', 'f')

),

readers as (

    select oid as role_oid
    from pg_roles
    where rolname in ('service_role', 'authenticated', 'app_user', 'app_admin', 'app_readonly')

),

policies as (

    select polrelid as relation_oid
    from pg_policy
    where polname = 'own_projects'

)

select distinct relations.relation
from relations
cross join readers
left join policies on relations.oid = policies.relation_oid
where
    has_table_privilege(readers.role_oid, relations.oid, 'select')
    and not case relations.relkind
        when 'v' then relations.is_invoker
        when 'r' then relations.is_secured and policies.relation_oid is not null
        else false
    end
