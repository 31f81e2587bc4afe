select project_id, id::text as subject_key, error_message as content, updated_at as subject_updated_at
from raw.command_executions
where error_message is not null
