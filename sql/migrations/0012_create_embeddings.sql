-- Meanings as vectors, to find what is alike. A vector belongs to a text, not to what has the text: a thousand equal
-- errors have one vector and a thousand subjects. Half precision halves the index and loses no recall.
set local lock_timeout = '5s';

do $$
declare
    found record;
begin
    select n.nspname, string_to_array(e.extversion, '.')::integer [] as version into found
    from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace where e.extname = 'vector';
    if found.nspname is null then
        raise exception 'this database lacks pgvector 0.8 or newer: install it on the server, then run as a superuser "create extension vector schema public" and migrate again'
            using errcode = 'feature_not_supported';
    elsif found.nspname <> 'public' then
        raise exception 'pgvector is in schema %, where it is not looked for: run as a superuser "alter extension vector set schema public" and migrate again', found.nspname
            using errcode = 'feature_not_supported';
    elsif found.version < array[0, 8] then
        raise exception 'pgvector % is too old, 0.8 is needed: upgrade it on the server, then run as a superuser "alter extension vector update" and migrate again', array_to_string(found.version, '.')
            using errcode = 'feature_not_supported';
    end if;
end
$$;

set local role tracemill_owner;

create table if not exists raw.embeddings (
    project_id text not null,
    model text not null,
    content_hash text not null,
    dimensions integer not null generated always as (public.vector_dims(embedding)) stored,
    embedding public.halfvec not null,
    created_at timestamptz not null default now(),
    constraint embeddings_pkey primary key (project_id, model, content_hash),
    constraint content_hash_is_sha256 check (content_hash ~ '^[0-9a-f]{64}$'),
    constraint embedding_model_check check (model ~ '^[^[:cntrl:]]{1,200}$')
);
comment on table raw.embeddings is 'Vectors, one row per text and model, however many subjects have the text.';
comment on column raw.embeddings.project_id is 'Tenant.';
comment on column raw.embeddings.model is 'Model that made the vector, with its version where it has one.';
comment on column raw.embeddings.content_hash is 'SHA-256 of the embedded text, in hexadecimal.';
comment on column raw.embeddings.dimensions is 'Length of the vector.';
comment on column raw.embeddings.embedding is 'The vector; only those of one model compare.';
comment on column raw.embeddings.created_at is 'When the row was written.';

create table if not exists raw.embedding_subjects (
    project_id text not null,
    subject_kind text not null,
    subject_key text not null,
    model text not null,
    content_hash text not null,
    created_at timestamptz not null default now(),
    constraint embedding_subjects_pkey primary key (project_id, subject_kind, subject_key, model),
    constraint embedding_subjects_embedding_fkey foreign key (project_id, model, content_hash)
    references raw.embeddings (project_id, model, content_hash) on delete cascade,
    constraint subject_kind_check check (subject_kind in ('configuration', 'scenario', 'trajectory', 'error'))
);
create index if not exists embedding_subjects_by_content
on raw.embedding_subjects (project_id, model, content_hash, subject_kind);
comment on table raw.embedding_subjects is 'What has an embedding, one row per subject and model.';
comment on column raw.embedding_subjects.project_id is 'Tenant.';
comment on column raw.embedding_subjects.subject_kind is 'configuration, scenario, trajectory or error.';
comment on column raw.embedding_subjects.subject_key is 'Its identity: version_id, scenario_id, outcome_id, or cluster_id of equal errors.';
comment on column raw.embedding_subjects.model is 'Model that made the vector.';
comment on column raw.embedding_subjects.content_hash is 'Text of the subject when it was embedded, in raw.embeddings.';
comment on column raw.embedding_subjects.created_at is 'When the row was written.';

do $$
declare
    table_name text;
begin
    foreach table_name in array array['embeddings', 'embedding_subjects'] loop
        execute format('alter table raw.%I enable row level security', table_name);
        execute format('alter table raw.%I force row level security', table_name);
        execute format('drop policy if exists platform_all on raw.%I', table_name);
        execute format('drop policy if exists own_projects on raw.%I', table_name);
        execute format('create policy platform_all on raw.%I to tracemill_owner, tracemill_ingest, tracemill_dbt using (true) with check (true)', table_name);
        execute format(
            'create policy own_projects on raw.%I for select to service_role, authenticated, app_user, app_admin, app_readonly '
            || 'using (project_id = any((select app.current_projects())::text[]))', table_name
        );
        execute format('grant select on raw.%I to tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly', table_name);
        execute format('grant select, insert, update, delete on raw.%I to tracemill_ingest', table_name);
    end loop;
end
$$;

create or replace function ops.ensure_embedding_index(embedding_model text, embedding_dimensions integer) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    index_name constant text := 'embeddings_' || embedding_dimensions || '_' || left(md5(embedding_model), 12);
begin
    if embedding_dimensions not between 1 and 4000 then
        raise exception 'vectors of % dimensions cannot be indexed: 1 to 4000 can', embedding_dimensions
            using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('tracemill.embedding_index', 0));
    if exists (
        select from pg_class as c where c.relnamespace = 'raw'::regnamespace and c.relname = index_name
    ) then
        return false;
    end if;
    execute format(
        'create index %I on raw.embeddings using hnsw ((embedding::public.halfvec(%s)) public.halfvec_cosine_ops) '
        'where model = %L and dimensions = %s',
        index_name, embedding_dimensions, embedding_model, embedding_dimensions
    );
    return true;
end
$$;
comment on function ops.ensure_embedding_index is 'Makes the HNSW index for the vectors of one model; true where it was missing. Best called after the first load. It serves: where model = … and dimensions = N order by embedding::halfvec(N) <=> … limit ….';
grant execute on function ops.ensure_embedding_index(text, integer) to tracemill_ingest;

reset role;
