-- Who changed what. Entries are only ever added, and each holds the hash of the one before it: a chain per project and
-- month, so that a project can check its own and a month can be dropped whole. What an owner of the database changes or
-- removes shows in audit.verify_chain(month); to hold against somebody who rebuilds a whole chain, keep the month's
-- last hashes (audit.chain_heads) elsewhere. An entry waits for the one before it: writers of one project take turns
-- from their first audited change to their commit.
set local lock_timeout = '5s';

create schema if not exists audit authorization tracemill_owner;
comment on schema audit is 'Who changed what, for good.';
grant usage on schema audit to tracemill_dbt, app_admin;

set local role tracemill_owner;

create table if not exists app.api_keys (
    project_id text not null references app.project_config (project_id),
    key_id uuid not null default gen_random_uuid(),
    key_hash bytea not null,
    name text not null,
    role_name text not null default 'app_user',
    created_by text,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    constraint api_keys_pkey primary key (project_id, key_id),
    constraint api_key_name_check check (name ~ '^[^[:cntrl:]]{1,200}$'),
    constraint api_key_role_check check (role_name in ('service_role', 'app_user', 'app_admin', 'app_readonly')),
    constraint key_is_kept_as_sha256 check (octet_length(key_hash) = 32),
    constraint api_key_expires_after_creation check (expires_at > created_at)
);
comment on table app.api_keys is 'Keys for the programs of a project, one row per key; the key itself is shown once and never stored.';
comment on column app.api_keys.project_id is 'Project that the key opens.';
comment on column app.api_keys.key_id is 'Name of the key in logs.';
comment on column app.api_keys.key_hash is 'SHA-256 of the key, which is random and long enough for that to be safe.';
comment on column app.api_keys.name is 'What it is for.';
comment on column app.api_keys.role_name is 'Role whose rights it gives.';
comment on column app.api_keys.created_by is 'Who made it.';
comment on column app.api_keys.created_at is 'When.';
comment on column app.api_keys.expires_at is 'First moment at which it no longer opens anything; NULL where it does not expire.';
comment on column app.api_keys.revoked_at is 'When it was taken back; NULL as long as it holds.';
comment on column app.api_keys.last_used_at is 'When it was last used; left out of the audit log.';
create index if not exists api_keys_by_hash on app.api_keys (key_hash);
alter table app.api_keys enable row level security;
alter table app.api_keys force row level security;
drop policy if exists platform_all on app.api_keys;
create policy platform_all on app.api_keys
to tracemill_owner, tracemill_ingest, tracemill_dbt using (true) with check (true);
drop policy if exists own_projects on app.api_keys;
create policy own_projects on app.api_keys for select
to service_role, authenticated, app_user, app_admin, app_readonly
using (project_id = any((select app.current_projects())::text[]));
grant select (project_id, key_id, name, role_name, created_by, created_at, expires_at, revoked_at, last_used_at)
on app.api_keys to app_admin;

create table if not exists audit.audit_log (
    project_id text not null,
    log_id uuid not null default gen_random_uuid(),
    timestamp timestamptz not null,
    chain_number bigint not null,
    table_name text not null,
    operation text not null,
    old_data jsonb,
    new_data jsonb,
    user_id text,
    key_id text,
    login_role text not null,
    active_role text not null,
    ip_address inet,
    user_agent text,
    transaction_id text not null,
    previous_hash bytea not null,
    entry_hash bytea not null,
    constraint audit_log_pkey primary key (project_id, timestamp, chain_number),
    constraint operation_check check (operation in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'))
) partition by range (timestamp);
create index if not exists audit_log_by_table on audit.audit_log (project_id, table_name, timestamp desc);
comment on table audit.audit_log is 'Changes of audited tables, one row per row that was inserted, updated or deleted, and one per project for a table that was emptied. Never changed.';
comment on column audit.audit_log.project_id is 'Tenant whose row it was; * for what concerns the whole table.';
comment on column audit.audit_log.log_id is 'Identity of the entry.';
comment on column audit.audit_log.timestamp is 'When the change was made, UTC.';
comment on column audit.audit_log.chain_number is 'Place in the chain of the project and month, from 1.';
comment on column audit.audit_log.table_name is 'Table, with its schema.';
comment on column audit.audit_log.operation is 'INSERT, UPDATE, DELETE or TRUNCATE.';
comment on column audit.audit_log.old_data is 'The row before, secrets redacted; for TRUNCATE the number of rows.';
comment on column audit.audit_log.new_data is 'The row after, secrets redacted.';
comment on column audit.audit_log.user_id is 'Person, as the application named it in app.user_id: a label, not a proof.';
comment on column audit.audit_log.key_id is 'API key, as the application named it in app.key_id: a label, not a proof.';
comment on column audit.audit_log.login_role is 'Role that logged in; SET ROLE does not change it.';
comment on column audit.audit_log.active_role is 'Role taken with SET ROLE, none without.';
comment on column audit.audit_log.ip_address is 'Address of the client; NULL over a unix socket.';
comment on column audit.audit_log.user_agent is 'application_name of the connection.';
comment on column audit.audit_log.transaction_id is 'Transaction: entries of one belong together.';
comment on column audit.audit_log.previous_hash is 'entry_hash of the entry before it.';
comment on column audit.audit_log.entry_hash is 'SHA-256 of the entry and previous_hash.';

create table if not exists audit.chain_heads (
    project_id text not null,
    month date not null,
    last_number bigint not null,
    last_hash bytea not null,
    constraint chain_heads_pkey primary key (project_id, month)
);
comment on table audit.chain_heads is 'Where each chain of the audit log ends, one row per project and month.';
comment on column audit.chain_heads.project_id is 'Tenant, or *.';
comment on column audit.chain_heads.month is 'First day of the month, UTC.';
comment on column audit.chain_heads.last_number is 'chain_number of the last entry.';
comment on column audit.chain_heads.last_hash is 'Its entry_hash.';

create or replace function audit.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'the audit log is only ever added to; whole months are dropped with their partition'
        using errcode = 'insufficient_privilege';
end
$$;
comment on function audit.refuse_change is 'Trigger: no entry is changed or removed.';
create or replace trigger entries_stay_as_they_are
before update or delete on audit.audit_log for each row execute function audit.refuse_change();
create or replace trigger entries_stay_when_truncated
before truncate on audit.audit_log for each statement execute function audit.refuse_change();

create table if not exists partitions.audit_log_default partition of audit.audit_log default;
alter table partitions.audit_log_default enable row level security;
create or replace trigger entries_stay_when_truncated
before truncate on partitions.audit_log_default for each statement execute function audit.refuse_change();

do $$
declare
    table_name text;
begin
    foreach table_name in array array['audit_log', 'chain_heads'] loop
        execute format('alter table audit.%I enable row level security', table_name);
        execute format('alter table audit.%I force row level security', table_name);
        execute format('drop policy if exists platform_all on audit.%I', table_name);
        execute format('drop policy if exists own_projects on audit.%I', table_name);
        execute format('create policy platform_all on audit.%I to tracemill_owner, tracemill_ingest, tracemill_dbt using (true) with check (true)', table_name);
        execute format(
            'create policy own_projects on audit.%I for select to service_role, authenticated, app_user, app_admin, app_readonly '
            || 'using (project_id = any((select app.current_projects())::text[]))', table_name
        );
        execute format('grant select on audit.%I to tracemill_dbt, app_admin', table_name);
    end loop;
end
$$;
revoke update, delete, truncate on audit.audit_log from tracemill_owner;

create or replace function audit.redact_text(content text) returns text
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select regexp_replace(regexp_replace(regexp_replace(regexp_replace(
        content,
        '-----BEGIN [A-Z ]*PRIVATE KEY-----(.*-----END [A-Z ]*PRIVATE KEY-----|(?!.*-----END).*)', '[REDACTED]', 'g'),
        '\m(sk-[\w-]{16,}|gh[a-z]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|(AKIA|ASIA)[0-9A-Z]{16}|AIza[\w-]{30,}|hf_\w{20,}|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+)',
        '[REDACTED]', 'g'),
        '(://[^\s:/@]*:)[^\s/@]+(?=@)|\m((?:bearer|basic)\s+)[\w.~+/=-]{8,}', '\1\2[REDACTED]', 'gi'),
        '((?:passwords?|passwd|passphrase|pwd|secrets?(?:[_.-]?(?:access[_.-]?)?key)?|api[_.-]?keys?|access[_.-]?key|private[_.-]?key|token|credentials?|authorization|cookie)\\*["'']?\s*[:=]\s*)'
        || '(?!\\*["'']?\[REDACTED|\\*["'']?[a-z]+ \[REDACTED)(\\+"(?:(?!\\*").)*|"(?:[^"\\]|\\.)*"|''[^'']*''|[^\s"'',;&}]+)', '\1[REDACTED]', 'gi')
$$;
comment on function audit.redact_text is 'The text without what looks like a secret: keys of known providers, passwords in addresses, values after names such as password or api_key.';

create or replace function audit.redact(content jsonb, depth integer default 0) returns jsonb
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    names_secret constant text := '(^|[_.\s-])(passwords?|passwd|passphrase|pwd|secrets?([_.\s-]?(access[_.\s-]?)?key)?|'
        || 'api[_.\s-]?keys?|access[_.\s-]?key|private[_.\s-]?key|(access|auth|bearer|refresh)[_.\s-]?tokens?|token|'
        || 'credentials?|authorization|cookies?|key[_]hash)$';
begin
    if depth = 0 and content::text !~* '(pass|pwd|secret|token|key|credential|auth|cookie|bearer|://|sk-|gh[a-z]_|xox|akia|asia|aiza|hf_|eyj|glpat)' then
        return content;
    elsif depth > 60 then
        return '"[REDACTED: nested too deeply to look into]"';
    end if;
    case jsonb_typeof(content)
        when 'string' then
            return to_jsonb(audit.redact_text(content #>> '{}'));
        when 'array' then
            return (
                select coalesce(jsonb_agg(audit.redact(e.value, depth + 1) order by e.place), '[]')
                from jsonb_array_elements(content) with ordinality as e (value, place)
            );
        when 'object' then
            return (
                select coalesce(jsonb_object_agg(
                    audit.redact_text(e.key),
                    case
                        when regexp_replace(e.key, '([a-z0-9])([A-Z])', '\1_\2', 'g') !~* names_secret
                            then audit.redact(e.value, depth + 1)
                        when jsonb_typeof(e.value) in ('null', 'boolean') or e.value #>> '{}' like '[REDACTED%'
                            then e.value
                        else '"[REDACTED]"'
                    end
                ), '{}')
                from jsonb_each(content) as e
            );
        else
            return content;
    end case;
end
$$;
comment on function audit.redact is 'The document without secrets: values whose names say that they are secret, and what audit.redact_text finds in the others. Who writes SQL by hand passes no other redaction.';

create or replace function audit.first_hash(project_id text, month date) returns bytea
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select sha256(convert_to(project_id || ' ' || to_char(month, 'YYYY-MM'), 'UTF8'))
$$;
comment on function audit.first_hash is 'What the first entry of a chain has as previous_hash.';
create or replace function audit.hash_of(entry audit.audit_log) returns bytea
language sql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select sha256(entry.previous_hash || convert_to(jsonb_build_array(
        entry.project_id, entry.log_id, extract(epoch from entry.timestamp), entry.chain_number, entry.table_name,
        entry.operation, entry.old_data, entry.new_data, entry.user_id, entry.key_id, entry.login_role,
        entry.active_role, host(entry.ip_address), entry.user_agent, entry.transaction_id
    )::text, 'UTF8'))
$$;
comment on function audit.hash_of is 'The hash that an entry must have.';
create or replace function audit.record_changes() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    key_columns constant text[] := string_to_array(tg_argv[0], ',');
    ignored_columns constant text[] := string_to_array(tg_argv[1], ',');
    changes refcursor;
    change record;
    head audit.chain_heads;
    entry audit.audit_log;
begin
    entry.timestamp := clock_timestamp();
    entry.table_name := tg_table_schema || '.' || tg_table_name;
    entry.operation := tg_op;
    entry.user_id := left(nullif(current_setting('app.user_id', true), ''), 200);
    entry.key_id := left(nullif(current_setting('app.key_id', true), ''), 200);
    entry.login_role := session_user;
    entry.active_role := current_setting('role');
    entry.ip_address := inet_client_addr();
    entry.user_agent := current_setting('application_name');
    entry.transaction_id := pg_current_xact_id()::text;
    -- Jobs make partitions ahead; a database that nobody looks after still gets this month's.
    if to_regclass('partitions.audit_log_' || to_char(entry.timestamp, 'YYYY_MM')) is null then
        perform ops.ensure_table_partitions(array['audit_log'], entry.timestamp::date, entry.timestamp::date);
    end if;

    case tg_op
        when 'INSERT' then
            open changes for
                select n.project_id, null::jsonb as old_data, to_jsonb(n) - ignored_columns as new_data
                from new_rows as n order by n.project_id;
        when 'DELETE' then
            open changes for
                select o.project_id, to_jsonb(o) - ignored_columns as old_data, null::jsonb as new_data
                from old_rows as o order by o.project_id;
        when 'UPDATE' then
            open changes for
                select coalesce(n.data, o.data) ->> 'project_id' as project_id, o.data as old_data, n.data as new_data
                from (
                    select d.data, (select jsonb_agg(d.data -> k) from unnest(key_columns) as k) as key
                    from old_rows as t cross join lateral (select to_jsonb(t) - ignored_columns as data) as d
                ) as o
                full join (
                    select d.data, (select jsonb_agg(d.data -> k) from unnest(key_columns) as k) as key
                    from new_rows as t cross join lateral (select to_jsonb(t) - ignored_columns as data) as d
                ) as n on n.key = o.key
                where o.data is distinct from n.data
                order by 1;
        else
            open changes for execute format(
                'select project_id, jsonb_build_object(''rows'', count(*)) as old_data, null::jsonb as new_data '
                'from %I.%I group by project_id union all '
                'select ''*'', jsonb_build_object(''rows'', count(*)), null from %I.%I order by 1',
                tg_table_schema, tg_table_name, tg_table_schema, tg_table_name
            );
    end case;

    loop
        fetch changes into change;
        exit when not found;
        if change.project_id is distinct from head.project_id then
            update audit.chain_heads as h
            set last_number = head.last_number, last_hash = head.last_hash
            where h.project_id = head.project_id and h.month = head.month;
            head.project_id := change.project_id;
            head.month := date_trunc('month', entry.timestamp);
            insert into audit.chain_heads (project_id, month, last_number, last_hash)
            values (head.project_id, head.month, 0, audit.first_hash(head.project_id, head.month))
            on conflict do nothing;
            select h.* into head from audit.chain_heads as h
            where h.project_id = head.project_id and h.month = head.month for update;
        end if;
        entry.project_id := change.project_id;
        entry.log_id := gen_random_uuid();
        entry.chain_number := head.last_number + 1;
        entry.old_data := audit.redact(change.old_data);
        entry.new_data := audit.redact(change.new_data);
        entry.previous_hash := head.last_hash;
        entry.entry_hash := audit.hash_of(entry);
        insert into audit.audit_log select entry.*;
        head.last_number := entry.chain_number;
        head.last_hash := entry.entry_hash;
    end loop;
    close changes;
    update audit.chain_heads as h
    set last_number = head.last_number, last_hash = head.last_hash
    where h.project_id = head.project_id and h.month = head.month;
    return null;
end
$$;
comment on function audit.record_changes is 'Trigger: adds the statement''s changes to the audit log. Arguments: key columns, and columns that are left out, each joined by commas.';

do $$
declare
    audited record;
    event text;
begin
    for audited in
        select *
        from (
            values
            ('raw.configurations', 'project_id,config_id', 'updated_at'),
            ('raw.config_versions', 'project_id,version_id', ''),
            ('raw.config_diffs', 'project_id,diff_id', ''),
            ('raw.scenarios', 'project_id,scenario_id', 'updated_at,search_vector'),
            ('raw.recommendations', 'project_id,recommendation_id', 'updated_at'),
            ('app.project_members', 'project_id,member_role', ''),
            ('app.api_keys', 'project_id,key_id', 'last_used_at')
        ) as t (name, keys, ignored)
    loop
        foreach event in array array[
            'insert after insert on %s referencing new table as new_rows',
            'update after update on %s referencing old table as old_rows new table as new_rows',
            'delete after delete on %s referencing old table as old_rows',
            'truncate before truncate on %s'
        ] loop
            execute format(
                'create or replace trigger audit_' || event
                || ' for each statement execute function audit.record_changes(%L, %L)',
                audited.name, audited.keys, audited.ignored
            );
        end loop;
    end loop;
end
$$;

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
        where c.month = date_trunc('month', verify_chain.month)::date and c.last_number > 0
    ) as h on h.project_id = e.project_id
    where (e.chain_number, e.entry_hash) is distinct from (h.last_number, h.last_hash)
    order by 1, 2, 3
$$;
comment on function audit.verify_chain is 'What is wrong with the audit log of a month, in the projects that the caller may see; no row where all is well.';
grant execute on function audit.verify_chain(date), audit.hash_of(audit.audit_log), audit.first_hash(text, date)
to tracemill_dbt, app_admin;

select ops.ensure_table_partitions(array['audit_log'], current_date, (current_date + interval '3 months')::date);

reset role;
