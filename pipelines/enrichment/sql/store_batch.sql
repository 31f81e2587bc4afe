with stored as (
    insert into raw.embeddings (project_id, model, content_hash, embedding)
    select n.project_id, %(model)s, n.content_hash, n.embedding
    from new_embeddings as n
    order by n.project_id, n.content_hash
    on conflict (project_id, model, content_hash) do nothing
    returning 1
)

select count(*) from stored
