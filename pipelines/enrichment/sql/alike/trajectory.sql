with subjects as materialized (
    select content_hash, subject_kind, subject_key, subject_key::uuid as id
    from raw.embedding_subjects
    where project_id = %(project)s and model = %(model)s and content_hash = any(%(hashes)s)
        and subject_kind = 'trajectory'
)

select distinct on (s.content_hash)
    s.content_hash,
    s.subject_kind,
    s.subject_key,
    o.scenario_id as title,
    concat_ws(
        ', ', o.status, o.error_code, 'score ' || round(o.reliability_score, 3), o.step_count || ' steps'
    ) as content,
    count(*) over texts as times,
    min(o.execution_time) over texts as first_seen_at,
    max(o.execution_time) over texts as last_seen_at
from subjects as s
inner join raw.outcomes as o on o.project_id = %(project)s and s.id = o.outcome_id
window texts as (partition by s.content_hash)
order by s.content_hash asc, o.execution_time desc, s.subject_key asc
