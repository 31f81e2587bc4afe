-- What the marts of optimization are made of changes with every row of a run's tree: samples now say so, as iterations
-- do. Whoever wants these marts sooner than the schedule builds them leaves a request; see docs/adr/0009.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function ops.touch_runs_of_samples() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_mergejoin = off set enable_hashjoin = off
as $$
declare
    project_ids text[];
    run_ids uuid[];
begin
    -- Samples that go to the archive or come back are no change: marts keep what was made of them.
    if current_setting('role') = 'tracemill_maintenance' then
        return null;
    end if;
    select array_agg(t.project_id), array_agg(t.run_id) into project_ids, run_ids
    from (select distinct c.project_id, c.run_id from changed_rows as c) as t;
    if run_ids is null then
        return null;
    end if;
    perform ops.lock_optimization_runs(project_ids, run_ids);
    update raw.optimization_runs as r
    set updated_at = now()
    from unnest(project_ids, run_ids) as t (project_id, run_id)
    where r.project_id = t.project_id and r.id = t.run_id and r.updated_at <> now();
    return null;
end
$$;
comment on function ops.touch_runs_of_samples is 'Trigger: the runs whose samples the statement changed say that they changed.';

create or replace trigger optimization_samples_inserted
after insert on raw.optimization_samples referencing new table as changed_rows
for each statement execute function ops.touch_runs_of_samples();
create or replace trigger optimization_samples_updated
after update on raw.optimization_samples referencing new table as changed_rows
for each statement execute function ops.touch_runs_of_samples();
create or replace trigger optimization_samples_moved
after update on raw.optimization_samples referencing old table as changed_rows
for each statement execute function ops.touch_runs_of_samples();
create or replace trigger optimization_samples_deleted
after delete on raw.optimization_samples referencing old table as changed_rows
for each statement execute function ops.touch_runs_of_samples();

alter table ops.refresh_log add column if not exists scope text not null default 'all';
do $$
begin
    alter table ops.refresh_log add constraint refresh_log_scope_is_known check (scope in ('all', 'analytics', 'some'));
exception
    when duplicate_object then null;
end
$$;
comment on table ops.refresh_log is 'Builds of derived tables, one row per run.';
comment on column ops.refresh_log.scope is 'all (every mart), analytics (the marts of optimization and evaluation) or some (those picked by hand).';

create table if not exists ops.refresh_requests (
    request_id bigint generated always as identity,
    requested_at timestamptz not null default clock_timestamp(),
    taken_at timestamptz,
    constraint refresh_requests_pkey primary key (request_id)
);
comment on table ops.refresh_requests is 'Requests to build the marts of optimization and evaluation anew, one row per request that is not fulfilled yet.';
comment on column ops.refresh_requests.request_id is 'Number of the request.';
comment on column ops.refresh_requests.requested_at is 'When it was made.';
comment on column ops.refresh_requests.taken_at is 'When a build that answers it began; NULL while it waits.';
grant select, update, delete on ops.refresh_requests to tracemill_dbt;

create or replace function app.refresh_optimization_analytics()
returns table (status text, requested_at timestamptz, last_refreshed_at timestamptz, detail text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    status := 'waiting';
    detail := 'A request is waiting already: the marts follow with the next build.';
    select min(r.requested_at) into requested_at from ops.refresh_requests as r where r.taken_at is null;
    if requested_at is null and current_setting('transaction_read_only')::boolean then
        status := 'not recorded';
        detail := 'This transaction is read-only: call the function in one that may write.';
    elsif requested_at is null then
        status := 'requested';
        detail := 'The request is recorded: the marts follow with the next build.';
        insert into ops.refresh_requests as r default values returning r.requested_at into requested_at;
    end if;
    select max(l.finished_at) into last_refreshed_at
    from ops.refresh_log as l
    where l.status = 'succeeded' and l.scope in ('all', 'analytics');
    return next;
end
$$;
comment on function app.refresh_optimization_analytics is 'Asks for the marts of optimization and evaluation to be built anew, and returns one row that says since when that is asked for and when they were last built. It does not wait for the build, which is not the caller''s to make.';
grant execute on function app.refresh_optimization_analytics()
to tracemill_ingest, tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;

reset role;
