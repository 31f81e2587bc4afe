with subjects as materialized (
    select content_hash, subject_kind, subject_key, subject_key::uuid as id
    from raw.embedding_subjects
    where project_id = %(project)s and model = %(model)s and content_hash = any(%(hashes)s)
        and subject_kind = 'configuration'
)

select distinct on (s.content_hash)
    s.content_hash,
    s.subject_kind,
    s.subject_key,
    c.name || ' version ' || v.version_number as title,
    v.raw_yaml as content,
    count(*) over texts as times,
    min(v.created_at) over texts as first_seen_at,
    max(v.created_at) over texts as last_seen_at
from subjects as s
inner join raw.config_versions as v on v.project_id = %(project)s and s.id = v.version_id
inner join raw.configurations as c on v.project_id = c.project_id and v.config_id = c.config_id
window texts as (partition by s.content_hash)
order by s.content_hash asc, v.created_at desc, s.subject_key asc
