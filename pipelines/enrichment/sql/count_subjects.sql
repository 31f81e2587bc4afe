select count(*)
from (
    select from raw.embedding_subjects
    where project_id = %(project)s and subject_kind = any(%(kinds)s) and model = %(model)s
    limit %(limit)s
) as s
