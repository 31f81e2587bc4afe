-- Days that the marts have to look at again.
insert into ops.touched_days (project_id, activity_date)
select distinct
    project_id,
    activity_date
from touched_output_days
order by activity_date, project_id
on conflict (activity_date, project_id) do update set touched_at = clock_timestamp();
