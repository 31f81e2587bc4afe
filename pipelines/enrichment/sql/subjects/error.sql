-- Equal errors share a cluster; the text of its first failure stands for all. A failure without cluster is its own.
select distinct on (project_id, subject_key)
    project_id,
    coalesce(cluster_id, pattern_id::text) as subject_key,
    coalesce(error_template, error_message, failure_type) as content,
    null::timestamptz as subject_updated_at
from raw.failure_patterns
order by project_id asc, subject_key asc, execution_time asc, pattern_id asc
