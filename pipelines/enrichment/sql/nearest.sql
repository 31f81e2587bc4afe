-- {distance} decides the way: the expression of the HNSW index makes it serve, the bare column is compared row by row.
with hits as materialized (
    select e.content_hash, {distance} as distance
    from raw.embeddings as e
    where e.project_id = %(project)s and e.model = {model} and e.dimensions = {dimensions} and exists (
        select from raw.embedding_subjects as s
        where s.project_id = e.project_id and s.model = e.model and s.content_hash = e.content_hash
            and s.subject_kind = any(%(kinds)s)
    )
    order by {distance}
    limit %(limit)s
)

select content_hash, 1 - distance as similarity from hits order by distance, content_hash
