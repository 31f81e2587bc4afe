select approval_status as status, approved_by as decided_by, approved_at as decided_at
from raw.config_diffs
where project_id = %(project)s and version_before = %(before)s and version_after = %(after)s
