{#- Whether whoever asks is the platform: rows that concern no project, or all of them, are for operators only. -#}
{% macro asked_by_operator() -%}
    (current_user = 'tracemill_dbt' or pg_has_role('tracemill_owner', 'member'))
{%- endmacro %}

{#- The schemas of tracemill, as a condition on a namespace's name. -#}
{% macro own_schemas() -%}
    ('raw', 'app', 'audit', 'ops', 'staging', 'intermediate', 'marts', 'monitoring')
{%- endmacro %}

{#-
    Query: one row per partitioned table with the months it has partitions for, those it lacks from this month to
    `months_ahead` months after it, and what lies in its DEFAULT partition.
-#}
{% macro partition_coverage(months_ahead) %}
    select
        tables.relation,
        tables.partition_count,
        tables.first_month,
        tables.last_month,
        missing.missing_months,
        coalesce(strays.row_count, 0) as default_row_count,
        strays.months as default_months
    from (
        select
            format('%I.%I', n.nspname, parent.relname) as relation,
            count(bounds.month) as partition_count,
            min(bounds.month) as first_month,
            max(bounds.month) as last_month,
            array_agg(bounds.month) as months
        from pg_class as parent
        inner join pg_namespace as n on parent.relnamespace = n.oid and n.nspname in ('raw', 'audit')
        left join pg_inherits as i on parent.oid = i.inhparent
        left join pg_class as child on i.inhrelid = child.oid
        left join lateral (
            select (regexp_match(pg_get_expr(child.relpartbound, child.oid), 'FROM \(''(\d{4}-\d{2}-\d{2})'))[1]::date
        ) as bounds (month) on true
        where parent.relkind = 'p'
        group by n.nspname, parent.relname
    ) as tables
    cross join lateral (
        select coalesce(array_agg(expected.month::date order by expected.month), '{}') as missing_months
        from generate_series(
            date_trunc('month', now() at time zone 'UTC'),
            date_trunc('month', now() at time zone 'UTC') + interval '1 month' * {{ months_ahead }},
            interval '1 month'
        ) as expected (month)
        where not coalesce(expected.month::date = any(tables.months), false)
    ) as missing
    left join ops.rows_in_default() as strays on tables.relation = strays.relation
{% endmacro %}

{#-
    Query: one row per relation of tracemill with who may read it and what keeps them to their projects. Protected is
    what no tenant may read, what forces row-level security, a view that reads with the rights of its reader, and
    list prices, which belong to nobody.
-#}
{% macro relation_protection() %}
    select
        relations.*,
        not relations.is_readable_by_tenants
        or relations.is_security_invoker
        or (relations.is_row_security and relations.is_row_security_forced and relations.policy_count > 0)
        or relations.relation in ('app.model_prices') as is_protected
    from (
        select
            format('%I.%I', n.nspname, c.relname) as relation,
            case c.relkind
                when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
                when 'm' then 'materialized view' else 'foreign table'
            end as kind,
            c.relrowsecurity as is_row_security,
            c.relforcerowsecurity as is_row_security_forced,
            coalesce('security_invoker=true' = any(c.reloptions), false) as is_security_invoker,
            (select count(*) from pg_policy as p where p.polrelid = c.oid) as policy_count,
            readers.is_readable_by_tenants
        from pg_class as c
        inner join pg_namespace as n on c.relnamespace = n.oid
        cross join lateral (
            select bool_or(has_any_column_privilege(r.oid, c.oid, 'select')) as is_readable_by_tenants
            from pg_roles as r
            where r.rolname in ('service_role', 'authenticated', 'app_user', 'app_admin', 'app_readonly')
        ) as readers
        where n.nspname in {{ own_schemas() }} and c.relkind in ('r', 'p', 'v', 'm', 'f')
    ) as relations
{% endmacro %}

{#- A threshold of a project: settings -> alerts -> name in app.project_config where that is a number, else the var. -#}
{% macro project_threshold(name) -%}
    case
        when jsonb_typeof(settings #> '{alerts,{{ name }}}') = 'number'
            then (settings #>> '{alerts,{{ name }}}')::numeric
        else {{ var('alert_' ~ name) }}
    end
{%- endmacro %}
