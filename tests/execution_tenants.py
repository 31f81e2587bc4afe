"""Work of coding agents in several projects: what security tests attack."""

import psycopg

TABLES = ("raw.command_executions", "raw.model_requests", "raw.tool_calls")


def add_executions(owner: psycopg.Connection, project: str, count: int) -> None:
    """Executions on 2026-03-01, whose partition has to be there, each with one request and one tool call."""
    owner.execute(
        """
        insert into raw.command_executions (
            project_id, id, timestamp, kind, command_raw, pattern_signature, device_id, sources, source_file_key,
            source_line, ended_at, status_reason
        )
        select
            %(project)s, gen_random_uuid(), moment, 'prompt', 'secret of ' || %(project)s, 'v1:x', 'd', '{claude_code}',
            'key', number, moment, 'answered'
        from generate_series(1, %(count)s) as number, lateral (select '2026-03-01 12:00Z'::timestamptz) as t (moment)
        """,
        {"project": project, "count": count},
    )
    owner.execute(
        """
        insert into raw.model_requests (
            project_id, request_key, timestamp, message_id, execution_id, model, cost_status, source, source_file_key,
            source_offset
        )
        select
            project_id, id::text, timestamp, id::text, id, 'secret of ' || project_id, 'computed', 'claude_code',
            'key', 0
        from raw.command_executions where project_id = %s
        """,
        [project],
    )
    owner.execute(
        """
        insert into raw.tool_calls (
            project_id, tool_use_id, timestamp, execution_id, tool_name, status, source, source_file_key, source_offset
        )
        select project_id, id::text, timestamp, id, 'secret of ' || project_id, 'ok', 'claude_code', 'key', 0
        from raw.command_executions where project_id = %s
        """,
        [project],
    )
