-- Whoever types SQL can undo SET ROLE, so the login itself must own nothing. tracemill_reader may become app_readonly
-- and nothing else; it inherits no right. The embedded server lets it in without a password; on a server of your own
-- give it one before you use it.
set local lock_timeout = '5s';

do $$
begin
    create role tracemill_reader login noinherit;
exception
    when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    grant app_readonly to tracemill_reader with inherit false;
exception
    when duplicate_object or unique_violation then null;
end
$$;

-- An advisory lock held by a reader would stop ingest and migrations, and PostgreSQL lets everybody take one.
do $$
declare
    lock_function regprocedure;
begin
    for lock_function in
        select p.oid::regprocedure
        from pg_proc as p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^pg_(try_)?advisory_'
    loop
        execute format('revoke execute on function %s from public', lock_function);
        execute format('grant execute on function %s to tracemill_owner, tracemill_ingest, tracemill_dbt', lock_function);
    end loop;
exception
    when insufficient_privilege then
        raise notice 'advisory locks stay open to everybody: only a superuser can close them';
end
$$;
