select project_id, version_id::text as subject_key, raw_yaml as content, null::timestamptz as subject_updated_at
from raw.config_versions
where not is_deleted
