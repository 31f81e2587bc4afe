select project_id, tool_use_id as subject_key, error_message as content, updated_at as subject_updated_at
from raw.tool_calls
where error_message is not null
