-- All questions come in through one login, and PostgreSQL lets everybody end the sessions of the own login: a question
-- in one project could end those of all others.
set local lock_timeout = '5s';

do $$
declare
    ending_function regprocedure;
begin
    for ending_function in
        select p.oid::regprocedure
        from pg_proc as p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.proname in ('pg_cancel_backend', 'pg_terminate_backend')
    loop
        execute format('revoke execute on function %s from public', ending_function);
        execute format(
            'grant execute on function %s to tracemill_owner, tracemill_ingest, tracemill_dbt, tracemill_maintenance',
            ending_function
        );
    end loop;
exception
    when insufficient_privilege then
        raise notice 'readers can end each other''s questions: only a superuser can prevent it';
end
$$;
