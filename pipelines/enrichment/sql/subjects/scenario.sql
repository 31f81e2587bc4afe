select
    project_id,
    scenario_id as subject_key,
    concat_ws(e'\n', name, task_prompt) as content,
    updated_at as subject_updated_at
from raw.scenarios
