select count(*) from raw.embeddings where project_id = any(%(projects)s)
