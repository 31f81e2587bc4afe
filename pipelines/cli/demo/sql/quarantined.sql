select count(*) from ops.quarantined_records where project_id = any(%(projects)s)
