-- What leaves the database, and when. Old months are copied to Parquet files, proven identical there, and only then
-- taken out of the tables: the last step is a function that compares once more, so that no role needs the right to
-- delete or drop. tracemill_maintenance reads, writes the records below, and puts archived rows back.
set local lock_timeout = '5s';

do $$
begin
    create role tracemill_maintenance nologin noinherit;
exception
    when duplicate_object or unique_violation then null;
end
$$;
do $$
begin
    grant tracemill_maintenance to current_user;
exception
    when duplicate_object or unique_violation then null;
end
$$;
do $$
declare
    lock_function regprocedure;
begin
    execute format('grant connect, temporary on database %I to tracemill_maintenance', current_database());
    for lock_function in
        select p.oid::regprocedure
        from pg_proc as p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^pg_(try_)?advisory_'
    loop
        execute format('grant execute on function %s to tracemill_maintenance', lock_function);
    end loop;
exception
    when insufficient_privilege then
        raise notice 'advisory locks stay open to everybody: only a superuser can close them';
end
$$;
grant usage on schema raw, app, ops, audit to tracemill_maintenance;
grant select on public.schema_migrations to tracemill_maintenance;

set local role tracemill_owner;

-- squawk-ignore ban-drop-constraint
alter table app.project_config drop constraint if exists project_retention_is_in_days;
alter table app.project_config add constraint project_retention_is_in_days check (
    case
        when settings ? 'retention' then
            jsonb_typeof(settings -> 'retention') = 'object'
            and not jsonb_path_exists(settings, '$.retention.* ? (@.type() != "number" || @ < 1 || @ > 36500)')
            and not jsonb_path_exists(
                settings, '$.retention.keyvalue() ? (@.key != "executions" && @.key != "outcomes" && @.key != "samples")'
            )
        else true
    end
) not valid;
-- squawk-ignore ban-drop-constraint
alter table app.project_config drop constraint if exists project_legal_hold_is_boolean;
alter table app.project_config add constraint project_legal_hold_is_boolean
check (not settings ? 'legal_hold' or jsonb_typeof(settings -> 'legal_hold') = 'boolean') not valid;
comment on column app.project_config.settings is 'Settings of the project: budgets, cadence, retention ({"executions": days, "outcomes": days, "samples": days}; the defaults are in ops.retention_rules) and legal_hold (true: nothing of the project leaves the database).';

create table if not exists ops.retention_rules (
    relation text not null,
    domain text not null,
    position integer not null,
    time_column text not null,
    keep_days integer not null,
    constraint retention_rules_pkey primary key (relation),
    constraint retention_rules_position_key unique (domain, position),
    constraint keep_days_is_positive check (keep_days > 0)
);
comment on table ops.retention_rules is 'Tables whose old months are archived, one row per table. Tables of a domain leave and come back together.';
comment on column ops.retention_rules.relation is 'Table, with its schema.';
comment on column ops.retention_rules.domain is 'executions, outcomes, samples or audit.';
comment on column ops.retention_rules.position is 'Place in the domain: rows of a later table may refer to rows of an earlier one.';
comment on column ops.retention_rules.time_column is 'Column that decides the month of a row.';
comment on column ops.retention_rules.keep_days is 'Days that rows stay after the end of their month, where the project does not say otherwise.';
insert into ops.retention_rules (relation, domain, position, time_column, keep_days) values
('raw.command_executions', 'executions', 1, 'timestamp', 90),
('raw.model_requests', 'executions', 2, 'timestamp', 90),
('raw.tool_calls', 'executions', 3, 'timestamp', 90),
('raw.outcomes', 'outcomes', 1, 'execution_time', 730),
('raw.tool_usage', 'outcomes', 2, 'execution_time', 730),
('raw.failure_patterns', 'outcomes', 3, 'execution_time', 730),
('raw.recommendations', 'outcomes', 4, 'execution_time', 730),
('raw.optimization_samples', 'samples', 1, 'created_at', 365),
('audit.audit_log', 'audit', 1, 'timestamp', 365)
on conflict do nothing;
create index if not exists optimization_samples_by_time on raw.optimization_samples (created_at);

create table if not exists ops.archived_months (
    project_id text not null,
    relation text not null references ops.retention_rules (relation),
    month date not null,
    row_count bigint not null,
    checksum numeric not null,
    verified_at timestamptz not null,
    released_at timestamptz,
    restored_at timestamptz,
    held_until timestamptz,
    constraint archived_months_pkey primary key (project_id, relation, month),
    constraint archived_month_is_a_first check (extract(day from month) = 1)
);
create index if not exists archived_months_by_month on ops.archived_months (month);
comment on table ops.archived_months is 'Months of a table that were archived, one row per project, table and month.';
comment on column ops.archived_months.project_id is 'Tenant.';
comment on column ops.archived_months.relation is 'Table, in ops.retention_rules.';
comment on column ops.archived_months.month is 'First day of the month, UTC.';
comment on column ops.archived_months.row_count is 'Rows of the database that were proven to be in the archive.';
comment on column ops.archived_months.checksum is 'Checksum of these rows, as ops.month_fingerprints gives it.';
comment on column ops.archived_months.verified_at is 'When that was proven.';
comment on column ops.archived_months.released_at is 'When the rows left the database; NULL while they are there.';
comment on column ops.archived_months.restored_at is 'When they were last put back.';
comment on column ops.archived_months.held_until is 'Until when rows that were put back stay.';

create table if not exists ops.archive_files (
    project_id text not null,
    relation text not null references ops.retention_rules (relation),
    month date not null,
    part integer not null,
    path text not null,
    row_count bigint not null,
    size_bytes bigint not null,
    sha256 text not null,
    sums jsonb not null,
    schema_version text not null,
    created_at timestamptz not null default now(),
    superseded_at timestamptz,
    constraint archive_files_pkey primary key (project_id, relation, month, part),
    constraint archive_file_has_rows check (part > 0 and row_count > 0)
);
comment on table ops.archive_files is 'Verified files of the archive, one row per file. The files of a month that are not superseded hold each of its rows once.';
comment on column ops.archive_files.project_id is 'Tenant.';
comment on column ops.archive_files.relation is 'Table, in ops.retention_rules.';
comment on column ops.archive_files.month is 'First day of the month, UTC.';
comment on column ops.archive_files.part is 'Number of the file within the month, from 1.';
comment on column ops.archive_files.path is 'Path below the archive folder.';
comment on column ops.archive_files.row_count is 'Rows in the file.';
comment on column ops.archive_files.size_bytes is 'Its size.';
comment on column ops.archive_files.sha256 is 'SHA-256 of its bytes, in hexadecimal.';
comment on column ops.archive_files.sums is 'Sums of its counts and amounts, by column.';
comment on column ops.archive_files.schema_version is 'Newest migration when it was written.';
comment on column ops.archive_files.created_at is 'When it was verified.';
comment on column ops.archive_files.superseded_at is 'When a newer file of the month took its rows over; NULL while it counts.';

create table if not exists ops.maintenance_log (
    log_id bigint generated always as identity,
    job text not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    status text not null default 'running',
    counts jsonb not null default '{}',
    steps jsonb not null default '[]',
    problems jsonb not null default '[]',
    constraint maintenance_log_pkey primary key (log_id),
    constraint maintenance_log_status_is_known check (status in ('running', 'succeeded', 'failed'))
);
comment on table ops.maintenance_log is 'What maintenance did, one row per job that was applied.';
comment on column ops.maintenance_log.log_id is 'Number of the run.';
comment on column ops.maintenance_log.job is 'Job.';
comment on column ops.maintenance_log.started_at is 'When it began.';
comment on column ops.maintenance_log.finished_at is 'When it ended; NULL while it runs.';
comment on column ops.maintenance_log.status is 'running, succeeded or failed.';
comment on column ops.maintenance_log.counts is 'How much it did, by kind.';
comment on column ops.maintenance_log.steps is 'What it did, as sentences.';
comment on column ops.maintenance_log.problems is 'What it could not do, as sentences.';

do $$
declare
    table_name text;
begin
    foreach table_name in array array['archived_months', 'archive_files'] loop
        execute format('alter table ops.%I enable row level security', table_name);
        execute format('alter table ops.%I force row level security', table_name);
        execute format('drop policy if exists platform_all on ops.%I', table_name);
        execute format('drop policy if exists own_projects on ops.%I', table_name);
        execute format('create policy platform_all on ops.%I to tracemill_owner, tracemill_ingest, tracemill_dbt, tracemill_maintenance using (true) with check (true)', table_name);
        execute format(
            'create policy own_projects on ops.%I for select to service_role, authenticated, app_user, app_admin, app_readonly '
            || 'using (project_id = any((select app.current_projects())::text[]))', table_name
        );
    end loop;
    foreach table_name in array array[
        'raw.command_executions', 'raw.model_requests', 'raw.tool_calls', 'raw.outcomes', 'raw.tool_usage',
        'raw.failure_patterns', 'raw.recommendations', 'raw.optimization_samples', 'audit.audit_log', 'app.project_config'
    ] loop
        execute format('alter policy platform_all on %s to tracemill_owner, tracemill_ingest, tracemill_dbt, tracemill_maintenance', table_name);
        execute format('grant select%s on %s to tracemill_maintenance', case when table_name like 'raw.%' then ', insert' end, table_name);
    end loop;
end
$$;
grant select on ops.retention_rules, ops.touched_days, ops.aggregation_days to tracemill_maintenance;
grant select, insert, update on ops.archived_months, ops.archive_files, ops.maintenance_log to tracemill_maintenance;
grant select on ops.retention_rules, ops.archived_months, ops.archive_files, ops.maintenance_log to tracemill_dbt;
-- Rows that are put back get their generated columns anew.
grant execute on function app.normalised_score(numeric, numrange, text), app.text_sha256(text) to tracemill_maintenance;
grant execute on function ops.ensure_table_partitions(text[], date, date), ops.ensure_month_partitions(date, date)
to tracemill_maintenance;

create or replace function ops.month_partition_name(table_with_schema text, month date) returns text
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select split_part(table_with_schema, '.', 2) || to_char(month, '_YYYY_MM')
$$;
comment on function ops.month_partition_name is 'Name that the partition of a table and month has in schema partitions.';
create or replace function ops.month_partition(table_with_schema text, month date) returns regclass
language sql stable strict
set search_path = pg_catalog, pg_temp
as $$
    select c.oid::regclass
    from pg_class as c
    where c.relnamespace = 'partitions'::regnamespace and c.relname = ops.month_partition_name(table_with_schema, month)
$$;
comment on function ops.month_partition is 'The partition of a table and month; NULL where there is none.';
create or replace function ops.default_partition(table_with_schema text) returns regclass
language sql stable strict
set search_path = pg_catalog, pg_temp
as $$
    select nullif(p.partdefid, 0)::regclass
    from pg_partitioned_table as p
    where p.partrelid = table_with_schema::regclass
$$;
comment on function ops.default_partition is 'The DEFAULT partition of a table; NULL where there is none.';

grant execute on function ops.month_partition_name(text, date), ops.month_partition(text, date), ops.default_partition(text)
to tracemill_maintenance, tracemill_dbt;

create or replace function ops.month_fingerprints(table_with_schema text, month date)
returns table (project_id text, row_count bigint, checksum numeric, widest_bytes integer)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
    rule ops.retention_rules;
    first_day constant date := date_trunc('month', month);
begin
    select r.* into strict rule from ops.retention_rules as r where r.relation = table_with_schema;
    return query execute format(
        'select t.project_id, count(*), sum(hashtextextended(t::text, 0)::numeric), max(octet_length(t::text)) '
        'from %s as t where t.%I >= $1 and t.%I < $2 group by t.project_id',
        rule.relation::regclass, rule.time_column, rule.time_column
    ) using first_day::timestamp at time zone 'UTC', (first_day + interval '1 month') at time zone 'UTC';
end
$$;
comment on function ops.month_fingerprints is 'Rows of a table in a month, by project: how many, a checksum that does not depend on their order, and the bytes of the widest as text.';
grant execute on function ops.month_fingerprints(text, date) to tracemill_maintenance;

create or replace function ops.release_archived_rows(archived_domain text, archived_month date, projects text[])
returns table (relation text, row_count bigint, is_dropped boolean)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
-- Shorter than the wait after which PostgreSQL looks for deadlocks: of two sessions in one, this is the one to give in.
set lock_timeout = '900ms'
as $$
#variable_conflict use_column
declare
    first_day constant date := date_trunc('month', archived_month);
    end_day constant date := first_day + interval '1 month';
    rule record;
    unproven text;
    has_others boolean;
begin
    for rule in select r.* from ops.retention_rules as r where r.domain = archived_domain order by r.position loop
        -- Writers wait, readers go on.
        execute format('lock table %s in share row exclusive mode', coalesce(
            ops.month_partition(rule.relation, first_day), ops.default_partition(rule.relation), rule.relation::regclass
        ));
    end loop;
    if archived_domain <> 'audit' and exists (
        select from ops.touched_days as t
        where t.project_id = any(projects) and t.activity_date >= first_day and t.activity_date < end_day
        union all
        select from ops.aggregation_days as d where d.activity_date >= first_day and d.activity_date < end_day
    ) then
        raise exception 'days of % wait for aggregation', to_char(first_day, 'YYYY-MM') using errcode = 'object_in_use';
    end if;
    if exists (
        select from ops.archived_months as m
        join ops.retention_rules as r on r.relation = m.relation
        where r.domain = archived_domain and m.month = first_day and m.project_id = any(projects) and m.held_until > now()
    ) then
        raise exception 'restored rows of % are held', to_char(first_day, 'YYYY-MM') using errcode = 'object_in_use';
    end if;

    for rule in select r.* from ops.retention_rules as r where r.domain = archived_domain order by r.position desc loop
        select
            string_agg(f.project_id, ', ') filter (
                where f.project_id = any(projects)
                    and (f.row_count is distinct from m.row_count or f.checksum is distinct from m.checksum)
            ),
            coalesce(bool_or(f.project_id <> all(projects)), false),
            coalesce(sum(f.row_count) filter (where f.project_id = any(projects)), 0)
        into unproven, has_others, row_count
        from ops.month_fingerprints(rule.relation, first_day) as f
        left join ops.archived_months as m
            on m.project_id = f.project_id and m.relation = rule.relation and m.month = first_day;
        if unproven is not null then
            raise exception 'rows of % in % are not all in the archive: %', rule.relation, to_char(first_day, 'YYYY-MM'), unproven
                using errcode = 'serialization_failure';
        elsif has_others and archived_domain = 'audit' then
            raise exception 'the audit log of % holds entries of other projects', to_char(first_day, 'YYYY-MM')
                using errcode = 'object_in_use';
        end if;
        is_dropped := not has_others and ops.month_partition(rule.relation, first_day) is not null;
        if is_dropped then
            execute format('alter table %s detach partition %s', rule.relation, ops.month_partition(rule.relation, first_day));
            execute format('drop table partitions.%I', ops.month_partition_name(rule.relation, first_day));
        elsif row_count > 0 then
            execute format(
                'delete from %s where project_id = any($1) and %I >= $2 and %I < $3', rule.relation, rule.time_column, rule.time_column
            ) using projects, first_day::timestamp at time zone 'UTC', end_day::timestamp at time zone 'UTC';
        end if;
        update ops.archived_months as m
        set released_at = clock_timestamp(), restored_at = null, held_until = null
        where m.project_id = any(projects) and m.relation = rule.relation and m.month = first_day;
        relation := rule.relation;
        return next;
    end loop;
    if archived_domain = 'audit' then
        update audit.chain_heads as h set archived_at = clock_timestamp() where h.month = first_day;
    end if;
end
$$;
comment on function ops.release_archived_rows is 'Takes the rows of these projects and this month out of every table of a domain: by dropping the partition where nobody else has rows in it, else by deleting them. Refuses unless exactly these rows were proven to be in the archive, their days have been aggregated and no hold is on them.';
grant execute on function ops.release_archived_rows(text, date, text[]) to tracemill_maintenance;

-- The hash of a month's last entry outlives the month: an archived copy can be held against it.
alter table audit.chain_heads add column if not exists archived_at timestamptz;
comment on column audit.chain_heads.archived_at is 'When the entries of the chain were archived and their partition dropped; NULL while they are here.';
create or replace function audit.verify_chain(month date)
returns table (project_id text, chain_number bigint, problem text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    with
    entries as (
        select
            a.project_id,
            a.chain_number,
            a.previous_hash,
            a.entry_hash,
            audit.hash_of(a) as true_hash,
            lag(a.chain_number, 1, 0::bigint) over chain as number_before,
            lag(a.entry_hash, 1, audit.first_hash(a.project_id, date_trunc('month', verify_chain.month)::date))
                over chain as hash_before,
            lead(a.chain_number) over chain is null as is_last
        from audit.audit_log as a
        where a.timestamp >= date_trunc('month', verify_chain.month::timestamp) at time zone 'UTC'
            and a.timestamp < (date_trunc('month', verify_chain.month::timestamp) + interval '1 month') at time zone 'UTC'
        window chain as (partition by a.project_id order by a.chain_number)
    )

    select e.project_id, e.chain_number, 'the entry was changed' from entries as e where e.entry_hash <> e.true_hash
    union all
    select e.project_id, e.chain_number, 'entries before it are missing'
    from entries as e where e.chain_number <> e.number_before + 1
    union all
    select e.project_id, e.chain_number, 'it does not follow the entry before it'
    from entries as e where e.chain_number = e.number_before + 1 and e.previous_hash <> e.hash_before
    union all
    select coalesce(e.project_id, h.project_id), coalesce(e.chain_number, h.last_number), 'the end of the chain is not the noted one'
    from (select l.* from entries as l where l.is_last) as e
    full join (
        select c.* from audit.chain_heads as c
        where c.month = date_trunc('month', verify_chain.month)::date and c.last_number > 0 and c.archived_at is null
    ) as h on h.project_id = e.project_id
    where (e.chain_number, e.entry_hash) is distinct from (h.last_number, h.last_hash)
    order by 1, 2, 3
$$;

reset role;
