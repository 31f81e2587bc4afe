-- Subjects of one kind that have no vector of the model, or have changed since. Texts are cut where models stop reading.
create temporary table pending_subjects as
with found as materialized (
    select t.project_id, t.subject_key, t.subject_updated_at, left(t.content, {longest_text}) as content
    from ({subjects}) as t
    left join raw.embedding_subjects as s
        on t.project_id = s.project_id and t.subject_key = s.subject_key
        and s.subject_kind = {kind} and s.model = {model}
    where
        (s.subject_key is null or s.subject_updated_at is distinct from t.subject_updated_at)
        and ({projects}::text [] is null or t.project_id = any({projects}::text []))
)

select f.*, encode(sha256(convert_to(f.content, 'UTF8')), 'hex') as content_hash
from found as f
where f.content ~ '\S'
