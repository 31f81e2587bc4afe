-- What the monitoring views stand on: tables of schema ops show a tenant its own projects, three functions say what
-- needs more rights than the asker has, and a table remembers which alerts were sent. Tenants cannot enter schema ops:
-- they get this far through views only.
set local lock_timeout = '5s';

-- Statements of other roles are shown to operators only, and redacted; the grant needs an administrator's right.
do $$
begin
    grant pg_read_all_stats to tracemill_owner with inherit true;
exception
    when insufficient_privilege then
        raise notice 'statements of other logins stay hidden: an administrator may grant pg_read_all_stats to tracemill_owner';
end
$$;

-- Operators look before dbt has built anything.
set local role tracemill_dbt;
grant usage on schema monitoring to tracemill_owner;
set local role tracemill_owner;

do $$
declare
    ledger text;
    platform text;
begin
    foreach ledger in array array['ingest_files', 'quarantined_records', 'touched_days', 'refresh_log'] loop
        select string_agg(distinct quote_ident(a.grantee::regrole::text), ', ') into platform
        from pg_class as c, aclexplode(c.relacl) as a
        where c.oid = format('ops.%I', ledger)::regclass
            and a.grantee::regrole::text not in ('service_role', 'authenticated', 'app_user', 'app_admin', 'app_readonly');
        execute format('alter table ops.%I enable row level security', ledger);
        execute format('alter table ops.%I force row level security', ledger);
        execute format('drop policy if exists platform_all on ops.%I', ledger);
        execute format('drop policy if exists own_projects on ops.%I', ledger);
        execute format('create policy platform_all on ops.%I to %s using (true) with check (true)', ledger, platform);
        execute format(
            'create policy own_projects on ops.%I for select '
            'to service_role, authenticated, app_user, app_admin, app_readonly using (%s)', ledger,
            -- A refresh concerns all projects at once, so no tenant sees one.
            case ledger when 'refresh_log' then 'false' else 'project_id = any((select app.current_projects())::text[])' end
        );
    end loop;
end
$$;

grant select (
    project_id, file_key, path, source, size_bytes, committed_offset, committed_lines, quarantined_count,
    first_seen_at, last_ingested_at
) on ops.ingest_files to service_role, authenticated, app_user, app_admin, app_readonly;
grant select (project_id, record_key, file_key, path, line_number, source, reason, detail, quarantined_at)
on ops.quarantined_records to service_role, authenticated, app_user, app_admin, app_readonly;
grant select on ops.touched_days, ops.refresh_log
to service_role, authenticated, app_user, app_admin, app_readonly;

create or replace function ops.is_operator() returns boolean
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select pg_has_role(session_user, 'tracemill_owner', 'member')
$$;
comment on function ops.is_operator is 'Whether the login may act as the platform; SET ROLE does not change that.';

create or replace function ops.rows_in_default() returns table (relation text, row_count bigint, months date[])
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select d.relation, sum(d.row_count)::bigint, array_agg(d.month order by d.month)
    from ops.default_rows() as d
    where ops.is_operator()
    group by d.relation
$$;
comment on function ops.rows_in_default is 'Rows that lie in DEFAULT partitions because their month has none, one row per partitioned table that has some; nothing for tenants.';

create or replace function ops.statement_statistics() returns table (
    is_available boolean, detail text, role_name name, is_platform boolean, statement text, calls bigint,
    total_ms double precision, mean_ms double precision, max_ms double precision, row_count bigint, blocks_read bigint
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not ops.is_operator() then
        return;
    end if;
    -- As text, because the extension may be missing when this function is made, and go when it is there.
    return query execute
        'select true, null::text, s.rolname, s.is_platform, audit.redact_text(left(s.query, 1000)), s.calls, '
        's.total_exec_time, s.mean_exec_time, s.max_exec_time, s.rows, s.shared_blks_read '
        'from ('
        'select t.*, r.rolname, coalesce(r.rolname in (''tracemill_ingest'', ''tracemill_dbt'', ''tracemill_maintenance'') '
        'or pg_has_role(r.oid, ''tracemill_owner'', ''member''), false) as is_platform '
        'from public.pg_stat_statements as t left join pg_roles as r on r.oid = t.userid '
        'where t.dbid = (select d.oid from pg_database as d where d.datname = current_database()) '
        'order by t.mean_exec_time desc limit 500) as s';
exception
    when undefined_table or object_not_in_prerequisite_state or insufficient_privilege then
        return query select
            false, sqlerrm, null::name, null::boolean, null::text, null::bigint, null::float8, null::float8,
            null::float8, null::bigint, null::bigint;
end
$$;
comment on function ops.statement_statistics is 'The 500 statements of this database that are slowest on average, redacted, one row per role and statement; one row with is_available false and the reason where it is missing; nothing for tenants.';

grant execute on function ops.is_operator(), ops.rows_in_default(), ops.statement_statistics()
to tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;

create table if not exists ops.alert_states (
    alert_key text not null,
    channel text not null,
    alert text not null,
    severity text not null,
    project_id text,
    subject text,
    summary text not null,
    evidence jsonb not null,
    command text not null,
    fired_at timestamptz not null default now(),
    announced_at timestamptz,
    cleared_at timestamptz,
    constraint alert_states_pkey primary key (alert_key, channel),
    constraint alert_severity_check check (severity in ('warning', 'critical'))
);
comment on table ops.alert_states is 'Alerts that fire or that somebody has still to be told of, one row per alert and channel; gone when all is said.';
comment on column ops.alert_states.alert_key is 'Identity of the alert: condition, project and subject.';
comment on column ops.alert_states.channel is 'Where it is sent: log, webhook or e-mail.';
comment on column ops.alert_states.alert is 'Condition that fires.';
comment on column ops.alert_states.severity is 'warning or critical.';
comment on column ops.alert_states.project_id is 'Project; NULL where it concerns the platform.';
comment on column ops.alert_states.subject is 'What it is about, such as a table.';
comment on column ops.alert_states.summary is 'One sentence.';
comment on column ops.alert_states.evidence is 'Numbers and limits as last seen.';
comment on column ops.alert_states.command is 'What mends it.';
comment on column ops.alert_states.fired_at is 'When it was first seen to fire.';
comment on column ops.alert_states.announced_at is 'When the channel was told; NULL as long as it was not.';
comment on column ops.alert_states.cleared_at is 'When it was first seen not to fire any more; NULL while it fires.';
alter table ops.alert_states enable row level security;
alter table ops.alert_states force row level security;
drop policy if exists platform_all on ops.alert_states;
create policy platform_all on ops.alert_states to tracemill_owner using (true) with check (true);

reset role;
