{#-
    dbt makes relations anew, and a new relation has no policies. These hooks run after the build and before its
    commit, in the same transaction, so that nobody ever sees an unprotected mart. They change only what is
    missing: a night must not wait for, or stop, whoever is reading.
-#}

{#- The hook of every model. Tables outside the marts are the platform's own: nobody else gets a right to them. -#}
{% macro secure() %}
    {%- if model.config.materialized == 'view' -%}
        {{ secure_view() }}
    {%- elif model.config.schema == 'marts' -%}
        {{ secure_table() }}
    {%- endif -%}
{% endmacro %}

{% macro reader_roles() -%}
    service_role, authenticated, app_user, app_admin, app_readonly
{%- endmacro %}

{#-
    Row-level security as on the raw tables, and the right to select. What belongs to no project (`meta.is_shared`)
    is shown to whoever may see any.
-#}
{% macro secure_table() %}
    {%- if model.config.meta.is_shared -%}
        {%- set visible = "cardinality((select app.current_projects())) > 0" -%}
    {%- else -%}
        {%- set visible = "project_id = any((select app.current_projects())::text [])" -%}
    {%- endif %}
    do $secure$
    begin
        if not exists (
            select from pg_class
            where oid = '{{ this }}'::regclass and relrowsecurity and relforcerowsecurity
        ) then
            alter table {{ this }} enable row level security;
            alter table {{ this }} force row level security;
        end if;
        if not exists (
            select from pg_policy where polrelid = '{{ this }}'::regclass and polname = 'platform_all'
        ) then
            create policy platform_all on {{ this }}
            to tracemill_owner, tracemill_dbt using (true) with check (true);
        end if;
        if not exists (
            select from pg_policy where polrelid = '{{ this }}'::regclass and polname = 'own_projects'
        ) then
            create policy own_projects on {{ this }} for select to {{ reader_roles() }}
            using ({{ visible }});
        end if;
        if not has_table_privilege('app_readonly', '{{ this }}', 'select') then
            grant select on {{ this }} to tracemill_owner, {{ reader_roles() }};
        end if;
    end
    $secure$
{% endmacro %}

{#-
    A view reads with the rights of whoever asks, so that the policies below it hold. Monitoring is for everybody,
    and with it the staging views that it reads, though no tenant may enter their schema; the others are the
    platform's own.
-#}
{% macro secure_view() %}
    {%- set readers = ', ' ~ reader_roles() if is_for_readers() -%}
    alter view {{ this }} set (security_invoker = true);
    do $secure$
    begin
        if not has_table_privilege('{{ 'app_readonly' if readers else 'tracemill_owner' }}', '{{ this }}', 'select') then
            grant select on {{ this }} to tracemill_owner{{ readers }};
        end if;
    end
    $secure$
{% endmacro %}

{#- Whether the model is a monitoring view or read by one. -#}
{% macro is_for_readers() %}
    {%- set ns = namespace(found=model.config.schema == 'monitoring') -%}
    {%- for node in (graph.nodes if execute else {}).values() if node.config.schema == 'monitoring' -%}
        {%- if model.unique_id in node.depends_on.nodes -%}
            {%- set ns.found = true -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(ns.found) -}}
{% endmacro %}

{#- Operators read derived schemas as the owner of the warehouse. -#}
{% macro admit_operators() %}
    do $admit$
    declare
        derived text;
    begin
        foreach derived in array array['staging', 'intermediate', 'marts', 'monitoring'] loop
            if not has_schema_privilege('tracemill_owner', derived, 'usage') then
                execute format('grant usage on schema %I to tracemill_owner', derived);
            end if;
        end loop;
    end
    $admit$
{% endmacro %}
