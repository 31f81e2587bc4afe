set local lock_timeout = '5s';
set local role tracemill_owner;

create table if not exists app.project_config (
    project_id text not null,
    display_name text not null,
    settings jsonb not null default '{}',
    registered_at timestamptz not null default now(),
    constraint project_config_pkey primary key (project_id),
    constraint project_id_is_a_slug check (project_id ~ '^[a-z0-9][a-z0-9._-]{0,99}$')
);
comment on table app.project_config is 'Tenants, one row per project. New projects register themselves when their first log is ingested.';
comment on column app.project_config.project_id is 'Slug of the project; first part of every key in raw and marts.';
comment on column app.project_config.display_name is 'Name for people.';
comment on column app.project_config.settings is 'Settings of the project: budgets, retention, cadence.';
comment on column app.project_config.registered_at is 'When the project was first seen.';

create table if not exists app.project_members (
    project_id text not null references app.project_config (project_id),
    member_role name not null,
    granted_at timestamptz not null default now(),
    constraint project_members_pkey primary key (project_id, member_role)
);
comment on table app.project_members is 'Which login role may see which project, one row per pair: the boundary for people who type SQL.';
comment on column app.project_members.project_id is 'Project that may be seen.';
comment on column app.project_members.member_role is 'Login role, compared with session_user, which SET ROLE cannot change.';
comment on column app.project_members.granted_at is 'When access was given.';

create table if not exists priv.sessions (
    token_hash bytea not null,
    project_id text not null references app.project_config (project_id),
    expires_at timestamptz not null,
    constraint sessions_pkey primary key (token_hash)
);
comment on table priv.sessions is 'Unguessable tokens of our own services, one row per open session: the boundary for code that runs on behalf of a project.';

create or replace function app.current_projects() returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(array_agg(visible.project_id), '{}')
    from (
        select s.project_id
        from priv.sessions as s
        where s.token_hash = sha256(convert_to(nullif(current_setting('app.token', true), ''), 'UTF8'))
            and s.expires_at > now()
        union
        select m.project_id
        from app.project_members as m
        where m.member_role = session_user
    ) as visible
$$;
comment on function app.current_projects is 'Projects that the caller may see: by session token, else by membership of the login role; empty when neither holds.';
grant execute on function app.current_projects()
to tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;

create or replace function app.open_session(project text, lifetime interval default '1 hour') returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    token text := encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), 'hex');
begin
    if not exists (select from app.project_config as p where p.project_id = project) then
        raise exception 'project % is not registered', project using errcode = 'no_data_found';
    end if;
    delete from priv.sessions where expires_at < now();
    insert into priv.sessions (token_hash, project_id, expires_at)
    values (sha256(convert_to(token, 'UTF8')), project, now() + lifetime);
    return token;
end
$$;
comment on function app.open_session is 'Makes a session token for one project; hand it on with set_config(''app.token'', token, true).';
grant execute on function app.open_session(text, interval) to tracemill_ingest;

create table if not exists app.model_prices (
    model text not null,
    valid_from timestamptz not null,
    valid_to timestamptz,
    min_prompt_tokens bigint not null default 0,
    input_usd_per_mtok numeric not null,
    output_usd_per_mtok numeric not null,
    cache_read_usd_per_mtok numeric not null,
    cache_write_5m_usd_per_mtok numeric not null,
    cache_write_1h_usd_per_mtok numeric not null,
    web_search_usd_per_request numeric not null default 0,
    price_version text not null,
    constraint model_prices_pkey primary key (model, min_prompt_tokens, valid_from),
    constraint model_prices_period_is_forward check (valid_from < valid_to),
    constraint model_prices_periods_do_not_overlap
    exclude using gist (model with =, min_prompt_tokens with =, tstzrange(valid_from, valid_to) with &&)
);
comment on table app.model_prices is 'List prices, one row per model as named in logs, price tier and period of validity.';
comment on column app.model_prices.model is 'Model name exactly as it stands in the logs.';
comment on column app.model_prices.valid_from is 'First moment at which the price holds.';
comment on column app.model_prices.valid_to is 'First moment at which it no longer holds; NULL as long as it does.';
comment on column app.model_prices.min_prompt_tokens is 'The tier holds for requests whose whole prompt has more than this many tokens; 0 for the base price. The highest tier that fits prices the whole request.';
comment on column app.model_prices.input_usd_per_mtok is 'USD per million uncached input tokens.';
comment on column app.model_prices.output_usd_per_mtok is 'USD per million output tokens.';
comment on column app.model_prices.cache_read_usd_per_mtok is 'USD per million tokens read from the cache.';
comment on column app.model_prices.cache_write_5m_usd_per_mtok is 'USD per million tokens written to the cache for five minutes.';
comment on column app.model_prices.cache_write_1h_usd_per_mtok is 'USD per million tokens written to the cache for one hour.';
comment on column app.model_prices.web_search_usd_per_request is 'USD per server-side web search.';
comment on column app.model_prices.price_version is 'Package and version that the price was taken from.';

alter table app.project_config enable row level security;
alter table app.project_config force row level security;
alter table app.project_members enable row level security;
alter table app.project_members force row level security;

drop policy if exists platform_all on app.project_config;
create policy platform_all on app.project_config
to tracemill_owner, tracemill_ingest, tracemill_dbt using (true) with check (true);
drop policy if exists platform_all on app.project_members;
create policy platform_all on app.project_members
to tracemill_owner, tracemill_ingest, tracemill_dbt using (true) with check (true);
drop policy if exists own_projects on app.project_config;
create policy own_projects on app.project_config for select
to service_role, authenticated, app_user, app_admin, app_readonly
using (project_id = any((select app.current_projects())::text[]));
drop policy if exists own_projects on app.project_members;
create policy own_projects on app.project_members for select
to service_role, authenticated, app_user, app_admin, app_readonly
using (project_id = any((select app.current_projects())::text[]));

grant select on app.project_config, app.project_members
to tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;
grant select on app.model_prices to tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;
grant select, insert, update on app.project_config to tracemill_ingest;
grant select, insert, delete on app.model_prices to tracemill_ingest;

reset role;
