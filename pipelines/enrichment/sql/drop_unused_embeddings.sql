delete from raw.embeddings as e
where e.model = %(model)s and not exists (
    select from raw.embedding_subjects as s
    where s.project_id = e.project_id and s.model = e.model and s.content_hash = e.content_hash
)
