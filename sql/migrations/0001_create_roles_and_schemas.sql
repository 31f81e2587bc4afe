-- Roles are cluster-wide, so another database of the same cluster may have made them, even at this moment.
set local lock_timeout = '5s';

do $$
declare
    role_name text;
begin
    foreach role_name in array array[
        'tracemill_owner',   -- owns raw, app, audit and ops
        'tracemill_ingest',  -- writes raw and the ingest ledger
        'tracemill_dbt',     -- reads raw, owns every derived relation
        'service_role',      -- our own services, inside one project by token
        'authenticated',     -- a signed-in person of an application
        'app_user',
        'app_admin',
        'app_readonly'       -- analysts: sees only its projects
    ] loop
        begin
            execute format('create role %I nologin noinherit', role_name);
        exception
            when duplicate_object or unique_violation then null;
        end;
        begin
            execute format('grant %I to current_user', role_name);
        exception
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end
$$;

do $$
declare
    extension_name text;
begin
    foreach extension_name in array array['vector', 'btree_gin', 'btree_gist', 'pg_trgm', 'pg_stat_statements'] loop
        begin
            execute format('create extension if not exists %I with schema public', extension_name);
        exception
            when insufficient_privilege or feature_not_supported or undefined_file then
                raise notice 'extension % is not available here: %', extension_name, sqlerrm;
        end;
    end loop;
end
$$;

create schema if not exists raw authorization tracemill_owner;
create schema if not exists partitions authorization tracemill_owner;
create schema if not exists app authorization tracemill_owner;
create schema if not exists priv authorization tracemill_owner;
create schema if not exists ops authorization tracemill_owner;
create schema if not exists staging authorization tracemill_dbt;
create schema if not exists intermediate authorization tracemill_dbt;
create schema if not exists marts authorization tracemill_dbt;
create schema if not exists monitoring authorization tracemill_dbt;

comment on schema raw is 'Facts as ingested: one row per thing that happened, row-level security on every table.';
comment on schema partitions is 'Monthly partitions of the raw tables. Nobody but their owner has rights here: a partition read directly skips its parent''s policies.';
comment on schema app is 'Projects, members and prices.';
comment on schema priv is 'Session tokens. Reached through functions only.';
comment on schema ops is 'How the warehouse is doing: ingest ledger, quarantine, days waiting for aggregation.';
comment on schema staging is 'dbt: raw tables with names and types settled.';
comment on schema intermediate is 'dbt: steps between staging and marts.';
comment on schema marts is 'dbt: the tables analysts query.';
comment on schema monitoring is 'dbt: views for operators.';

revoke create on schema public from public;
grant usage on schema raw, app to tracemill_ingest, tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;
grant usage on schema ops to tracemill_ingest, tracemill_dbt;
grant usage on schema marts, monitoring to service_role, authenticated, app_user, app_admin, app_readonly;

alter default privileges for role tracemill_owner revoke execute on functions from public;
alter default privileges for role tracemill_dbt revoke execute on functions from public;

do $$
begin
    execute format('alter database %I set search_path = marts, monitoring, raw, app, public', current_database());
    execute format('grant connect, temporary on database %I to tracemill_ingest, tracemill_dbt', current_database());
    execute format('grant create on database %I to tracemill_dbt', current_database());
end
$$;
