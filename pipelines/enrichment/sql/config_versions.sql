select c.config_id, c.name, v.version_id, v.version_number, v.raw_yaml, v.parsed_config, v.model, v.created_at
from raw.configurations as c
inner join raw.config_versions as v on c.project_id = v.project_id and c.config_id = v.config_id
where c.project_id = %(project)s and (c.name = %(configuration)s or c.config_id::text = lower(%(configuration)s))
    and not v.is_deleted and (%(numbers)s::integer[] is null or v.version_number = any(%(numbers)s::integer[]))
order by v.version_number desc
limit 2
