-- The executions whose work the batch touches, as the warehouse holds them.

insert into touched_executions (project_id, execution_ids)
select
    project_id,
    array_agg(distinct execution_id) as execution_ids
from touched_work
group by project_id;

insert into known_executions
select e.*
from touched_executions as t
cross join lateral (
    select e.*
    from raw.command_executions as e
    where e.project_id = t.project_id and e.id = any(t.execution_ids)
    offset 0
) as e;
