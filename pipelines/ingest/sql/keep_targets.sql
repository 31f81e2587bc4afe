-- What follows from the targets: later ids stay known, and the executions are looked at again.

insert into ops.execution_aliases (project_id, alias_id, execution_id)
select
    project_id,
    id,
    target_id
from execution_targets
where id <> target_id
on conflict do nothing;

insert into touched_work (project_id, execution_id)
select
    project_id,
    target_id
from execution_targets;
