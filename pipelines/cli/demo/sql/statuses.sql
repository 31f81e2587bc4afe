select
    sum(completed_count)::bigint as completed, sum(failed_count)::bigint as failed,
    sum(cancelled_count)::bigint as cancelled, sum(timeout_count)::bigint as timeout,
    sum(pending_count)::bigint as pending
from marts.daily_command_stats where project_id = any(%(projects)s)
