-- All questions come in through one login and are asked as one role, and PostgreSQL shows everybody the statements of the
-- own login and role: a question in one project could read those of all others, with the values in them.
set local lock_timeout = '5s';

do $$
declare
    showing_function regprocedure;
begin
    for showing_function in
        select p.oid::regprocedure
        from pg_proc as p
        where p.pronamespace = 'pg_catalog'::regnamespace
            and p.proname in ('pg_stat_get_activity', 'pg_stat_get_backend_activity')
    loop
        execute format('revoke execute on function %s from public', showing_function);
        -- As a tenant's role nobody sees a statement of the login; only the login itself is kept out.
        execute format(
            'grant execute on function %s to pg_read_all_stats, tracemill_owner, tracemill_ingest, tracemill_dbt, '
            'tracemill_maintenance, service_role, authenticated, app_user, app_admin, app_readonly', showing_function
        );
    end loop;
exception
    when insufficient_privilege then
        raise notice 'readers can see each other''s questions while they are asked: only a superuser can prevent it';
end
$$;

do $$
begin
    if to_regclass('public.pg_stat_statements') is not null then
        revoke select on public.pg_stat_statements from public;
        revoke execute on function public.pg_stat_statements(boolean) from public;
        grant select on public.pg_stat_statements to pg_read_all_stats, tracemill_owner;
        grant execute on function public.pg_stat_statements(boolean) to pg_read_all_stats, tracemill_owner;
    end if;
exception
    when insufficient_privilege then
        raise notice 'readers can see each other''s questions in pg_stat_statements: only its owner can prevent it';
end
$$;
