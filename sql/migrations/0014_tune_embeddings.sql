-- Errors of coding agents get vectors beside those of evaluations, and a subject whose text has changed is told by its
-- own time of change, without reading the text.
set local lock_timeout = '5s';
set local role tracemill_owner;

alter table raw.embedding_subjects add column if not exists subject_updated_at timestamptz;
comment on column raw.embedding_subjects.subject_updated_at is 'updated_at of the subject when it was embedded; NULL where its text never changes.';

-- Nothing has written subjects before this version, so the check has nothing to scan.
-- squawk-ignore ban-drop-constraint
alter table raw.embedding_subjects drop constraint if exists subject_kind_check;
-- squawk-ignore constraint-missing-not-valid
alter table raw.embedding_subjects add constraint subject_kind_check
check (subject_kind in ('configuration', 'scenario', 'trajectory', 'error', 'tool_call', 'execution'));
comment on column raw.embedding_subjects.subject_kind is 'configuration, scenario, trajectory, error of an evaluation, tool_call or execution that failed.';
comment on column raw.embedding_subjects.subject_key is 'Its identity: version_id, scenario_id, outcome_id, cluster_id of equal errors (pattern_id of one without), tool_use_id, or id of the execution.';

-- Error texts lie close together: denser graphs than by default find more of the nearest, and take no more room. A
-- graph that outgrows the memory is built many times more slowly.
create or replace function ops.ensure_embedding_index(embedding_model text, embedding_dimensions integer) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set maintenance_work_mem = '512MB'
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
        'with (m = 24, ef_construction = 128) where model = %L and dimensions = %s',
        index_name, embedding_dimensions, embedding_model, embedding_dimensions
    );
    return true;
end
$$;

reset role;
