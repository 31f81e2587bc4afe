-- What ended attempts most often: errors that differ in numbers, names and paths only are one.
select
    failure_category as category,
    error_template as template,
    count(*) as times,
    (array_agg(project_id order by execution_time desc, pattern_id))[1] as last_project,
    (array_agg(error_message order by execution_time desc, pattern_id))[1] as last_message,
    max(execution_time) as last_seen_at
from raw.failure_patterns
where project_id = any(%(projects)s) and error_template is not null
group by failure_category, error_template
order by times desc, last_seen_at desc, category asc, template asc
limit 6
