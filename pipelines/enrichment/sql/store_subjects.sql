with stored as (
    insert into raw.embedding_subjects (
        project_id, subject_kind, subject_key, model, content_hash, subject_updated_at
    )
    select p.project_id, %(kind)s, p.subject_key, %(model)s, p.content_hash, p.subject_updated_at
    from pending_subjects as p
    where p.content_hash > %(after)s and p.content_hash <= %(last)s
    order by p.project_id, p.subject_key
    on conflict (project_id, subject_kind, subject_key, model) do update
    set content_hash = excluded.content_hash, subject_updated_at = excluded.subject_updated_at, created_at = now()
    returning 1
)

select count(*) from stored
