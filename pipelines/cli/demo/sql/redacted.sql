select distinct on (left(command_raw, 24)) command_raw
from raw.command_executions
where project_id = any(%(projects)s) and command_raw like '%%[REDACTED:%%'
order by left(command_raw, 24), timestamp
limit 2
