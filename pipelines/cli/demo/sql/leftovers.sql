select count(*) from (
    select command_raw as text from raw.command_executions where project_id = any(%(projects)s)
    union all
    select error_message from raw.command_executions where project_id = any(%(projects)s)
    union all
    select error_message from raw.tool_calls where project_id = any(%(projects)s)
    union all
    select sample from ops.quarantined_records
) as texts
where exists (select from unnest(%(secrets)s::text[]) as secret where strpos(texts.text, secret) > 0)
