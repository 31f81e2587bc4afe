"""What a raw table holds, for the person who looks at its asset: how many rows, and the newest of them."""

from typing import Any

import psycopg
from psycopg import sql

COLUMNS = {
    "command_executions": ("timestamp", "project_id", "command_raw", "status", "total_tokens", "cost_usd"),
    "model_requests": ("timestamp", "project_id", "model", "input_tokens", "cache_read_tokens", "output_tokens"),
    "tool_calls": ("timestamp", "project_id", "tool_name", "status", "duration_ms"),
}
_ROWS = 5
_CELL = 60

# Per project the newest rows come from an index; of the other tables only the last day with work is read.
_LAST_WORK = """
select max(newest.timestamp) - interval '1 day'
from app.project_config as p
cross join lateral (
    select e.timestamp from raw.command_executions as e
    where e.project_id = p.project_id
    order by e.timestamp desc
    limit 1
) as newest
"""


def row_count(connection: psycopg.Connection[Any], table: str) -> int:
    """Rows of ``raw.<table>``, exactly."""
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier("raw", table))).fetchone()
    return row[0] if row else 0


def newest_rows(connection: psycopg.Connection[Any], table: str) -> str:
    """The newest rows of ``raw.<table>`` as a markdown table, texts cut short; redacted, as all that is stored."""
    columns = COLUMNS[table]
    since = connection.execute(_LAST_WORK).fetchone()
    rows = connection.execute(
        sql.SQL("select {} from {} where timestamp >= %s order by timestamp desc limit {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier("raw", table), _ROWS
        ),
        [since[0] if since else None],
    ).fetchall()
    if not rows:
        return "The table is empty."
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = " ".join(str("" if value is None else value).split())
    shown = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    return shown.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
