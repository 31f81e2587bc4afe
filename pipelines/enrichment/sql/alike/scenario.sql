with subjects as materialized (
    select content_hash, subject_kind, subject_key, subject_key as id
    from raw.embedding_subjects
    where project_id = %(project)s and model = %(model)s and content_hash = any(%(hashes)s)
        and subject_kind = 'scenario'
)

select distinct on (s.content_hash)
    s.content_hash,
    s.subject_kind,
    s.subject_key,
    c.name as title,
    coalesce(c.task_prompt, c.name) as content,
    count(*) over texts as times,
    min(c.created_at) over texts as first_seen_at,
    max(c.created_at) over texts as last_seen_at
from subjects as s
inner join raw.scenarios as c on c.project_id = %(project)s and s.id = c.scenario_id
window texts as (partition by s.content_hash)
order by s.content_hash asc, c.created_at desc, s.subject_key asc
