-- The newest failure with the text speaks for all of them. Keys are cast apart from the joins, so that these can use
-- the primary keys under row-level security.
with subjects as materialized (
    select content_hash, subject_kind, subject_key,
        case when subject_key ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' then subject_key::uuid end as id
    from raw.embedding_subjects
    where project_id = %(project)s and model = %(model)s and content_hash = any(%(hashes)s)
        and subject_kind in ('error', 'tool_call', 'execution')
),

failures as (
    select s.content_hash, s.subject_kind, s.subject_key, f.failure_category as title,
        coalesce(f.error_message, f.failure_type) as content, f.execution_time as seen_at
    from subjects as s
    inner join raw.failure_patterns as f on f.project_id = %(project)s and s.subject_key = f.cluster_id
    where s.subject_kind = 'error'
    union all
    select s.content_hash, s.subject_kind, s.subject_key, f.failure_category,
        coalesce(f.error_message, f.failure_type), f.execution_time
    from subjects as s
    inner join raw.failure_patterns as f on f.project_id = %(project)s and s.id = f.pattern_id
    where s.subject_kind = 'error' and f.cluster_id is null
    union all
    select s.content_hash, s.subject_kind, s.subject_key, t.tool_name, t.error_message, t.timestamp
    from subjects as s
    inner join raw.tool_calls as t on t.project_id = %(project)s and s.subject_key = t.tool_use_id
    where s.subject_kind = 'tool_call'
    union all
    select s.content_hash, s.subject_kind, s.subject_key, coalesce(x.command_base, x.kind), x.error_message, x.timestamp
    from subjects as s
    inner join raw.command_executions as x on x.project_id = %(project)s and s.id = x.id
    where s.subject_kind = 'execution'
)

select distinct on (content_hash)
    content_hash,
    subject_kind,
    subject_key,
    title,
    content,
    count(*) over texts as times,
    min(seen_at) over texts as first_seen_at,
    max(seen_at) over texts as last_seen_at
from failures
window texts as (partition by content_hash)
order by content_hash asc, seen_at desc, subject_key asc
