"""What a table holds, for the person who looks at its asset: how many rows, and of a raw table the newest."""

from typing import Any

import psycopg
from psycopg import sql

COLUMNS = {
    "command_executions": ("timestamp", "project_id", "command_raw", "status", "total_tokens", "cost_usd"),
    "model_requests": ("timestamp", "project_id", "model", "input_tokens", "cache_read_tokens", "output_tokens"),
    "tool_calls": ("timestamp", "project_id", "tool_name", "status", "duration_ms"),
    "optimization_runs": ("created_at", "project_id", "run_name", "optimizer_type", "status", "final_score"),
    "optimization_iterations": ("ingested_at", "project_id", "iteration", "evaluation_kind", "score", "is_best"),
    "optimization_samples": ("ingested_at", "project_id", "iteration", "sample_index", "score", "is_correct"),
    "configurations": ("created_at", "project_id", "name"),
    "config_versions": ("created_at", "project_id", "version_number", "model", "generated_by"),
    "config_diffs": ("created_at", "project_id", "number_before", "number_after", "change_summary"),
    "scenarios": ("created_at", "project_id", "scenario_id", "name", "difficulty_level"),
    "simulations": ("created_at", "project_id", "simulation_name", "status", "overall_score", "total_cost_usd"),
    "outcomes": ("execution_time", "project_id", "scenario_id", "status", "reliability_score", "cost_usd"),
    "tool_usage": ("execution_time", "project_id", "tool_name", "status", "duration_ms"),
    "failure_patterns": ("execution_time", "project_id", "failure_category", "failure_type", "error_template"),
}
"""Raw table → what is shown of it; the first column says when."""
_ROWS = 5
_CELL = 60


def row_count(connection: psycopg.Connection[Any], schema: str, table: str) -> int:
    """Rows of the table, exactly."""
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))).fetchone()
    return row[0] if row else 0


def newest_rows(connection: psycopg.Connection[Any], table: str) -> str:
    """The newest rows of ``raw.<table>`` as a markdown table, texts cut short; redacted, as all that is stored."""
    columns = COLUMNS[table]
    # Per project the newest row comes from an index where there is one; then only the last day with work is read.
    rows = connection.execute(
        sql.SQL(
            "select {columns} from {table} where {moment} >= ("
            "select max(n.newest) - interval '1 day' from app.project_config as p cross join lateral ("
            "select r.{moment} as newest from {table} as r where r.project_id = p.project_id "
            "order by r.{moment} desc limit 1) as n"
            ") order by {moment} desc limit {limit}"
        ).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            table=sql.Identifier("raw", table),
            moment=sql.Identifier(columns[0]),
            limit=_ROWS,
        )
    ).fetchall()
    if not rows:
        return "The table is empty."
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = " ".join(str("" if value is None else value).split())
    shown = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    return shown.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
