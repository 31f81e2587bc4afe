"""A warehouse with a past: months of executions of several projects, evaluations and samples, with awkward values."""

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.dataset

from pipelines.database import connect
from pipelines.maintenance import jobs
from pipelines.maintenance.archive_tables import next_month
from pipelines.settings import Settings
from tests import evaluation_rows, raw_rows

FIRST, DAYS = date(2026, 2, 1), 59
MOMENT = datetime(2026, 7, 15, 3, tzinfo=UTC)
"""A clock by which the executions of both months are past their 90 days."""

EXECUTIONS = ("raw.command_executions", "raw.model_requests", "raw.tool_calls")
OUTCOMES = ("raw.outcomes", "raw.tool_usage", "raw.failure_patterns", "raw.recommendations")
AWKWARD = (
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    'he said "no", twice',
    "two\nlines\r\nand\ta tab",
    "[1,2]",
    "ünïcödé 漢字 🙂 \u2028",
    "t",
    "-0",
    "1e400",
    "'; drop table raw.tool_calls; --",
)


def add_executions(connection: psycopg.Connection, per_day: int = 4, *, projects: int = 2, seed: str = "") -> None:
    """Executions of February and March 2026, all aggregated."""
    raw_rows.insert(connection, raw_rows.Volume(FIRST, DAYS, per_day, projects=projects), seed=seed)
    connection.execute(
        """
        update raw.tool_calls as c
        set error_message = (%s::text[])[1 + (n.n %% array_length(%s::text[], 1))]
        from (select tool_use_id, row_number() over (order by tool_use_id)::integer as n from raw.tool_calls) as n
        where n.tool_use_id = c.tool_use_id
        """,
        [list(AWKWARD), list(AWKWARD)],
    )
    connection.execute(
        "update raw.model_requests set cost_usd = cost_usd * 1.000, cache_savings_usd = -0.000000000000000000123456789 "
        "where abs(hashtext(request_key)) % 7 = 0"
    )
    connection.execute("delete from ops.touched_days")
    connection.commit()


def add_evaluations(connection: psycopg.Connection, project: str = "project-1") -> None:
    """Outcomes of March 2026, with tool usage, a failure and what is recommended because of it."""
    connection.execute("select ops.ensure_month_partitions('2026-03-01', '2026-03-31')")
    made = evaluation_rows.add_evaluation(connection, project)
    for text in AWKWARD:
        evaluation_rows.add_outcome(
            connection, made, score_raw=0.50, cost_usd=1, cost_status="reported", execution_time_ms=0.1 + 0.2,
            trajectory={**evaluation_rows.TRAJECTORY, "said": text, "long": "x" * 40_000}, metrics={"n": 1e-7},
        )  # fmt: skip
    evaluation_rows.add(
        connection, "raw.recommendations", project_id=project, outcome_id=made.outcome, confidence=0.25,
        execution_time=evaluation_rows.MOMENT, recommendation_type="config_change", description="Try it once more.",
    )  # fmt: skip
    connection.commit()


def make_audit_month(connection: psycopg.Connection, month: date) -> None:
    """The partition of a month of the audit log that is past: the platform makes none, since it writes none there."""
    name = f"audit_log_{month:%Y_%m}"
    connection.execute(
        f"create table partitions.{name} (like audit.audit_log including defaults including constraints)"
    )
    connection.execute(f"alter table partitions.{name} owner to tracemill_owner")
    connection.execute(
        f"alter table audit.audit_log attach partition partitions.{name} "
        f"for values from ('{month} 00:00+00') to ('{next_month(month)} 00:00+00')"
    )


def add_audit_entries(connection: psycopg.Connection, project: str, month: date) -> None:
    """Five entries of the first days of a month, chained as if they had been written then."""
    connection.execute(
        """
        do $$
        declare
            entry audit.audit_log;
        begin
            entry.previous_hash := audit.first_hash(%(project)s, %(month)s);
            for number in 1..5 loop
                entry.project_id := %(project)s;
                entry.log_id := gen_random_uuid();
                entry.timestamp := %(month)s::timestamptz + number * interval '1 day';
                entry.chain_number := number;
                entry.table_name := 'raw.scenarios';
                entry.operation := 'INSERT';
                entry.new_data := jsonb_build_object('said', 'a "quoted"' || chr(10) || 'line', 'n', 1.50);
                entry.login_role := 'postgres';
                entry.active_role := 'none';
                entry.ip_address := '127.0.0.1';
                entry.transaction_id := number::text;
                entry.entry_hash := audit.hash_of(entry);
                insert into audit.audit_log select entry.*;
                entry.previous_hash := entry.entry_hash;
            end loop;
            insert into audit.chain_heads (project_id, month, last_number, last_hash)
            values (%(project)s, %(month)s, 5, entry.entry_hash);
        end
        $$
        """.replace("%(project)s", f"'{project}'").replace("%(month)s", f"date '{month}'")
    )


def rows(dsn: str, *relations: str) -> dict[str, list[str]]:
    """Every row of the tables as PostgreSQL writes it, sorted."""
    with connect(dsn) as connection:
        return {
            relation: [
                text
                for (text,) in connection.execute(f'select t::text from {relation} as t order by t::text collate "C"')
            ]
            for relation in relations
        }


def maintain(job: str, settings: Settings, **options: Any) -> jobs.Report:
    """Applies a job by the clock of the tests."""
    return jobs.run(
        job, settings, settings.database_url or "", **{"applies": True, "moment": MOMENT, "wait_seconds": 30, **options}
    )


def archived_keys(settings: Settings, table: str, key: str) -> list[tuple[str, str]]:
    """(project, key) of every row in the archive, read by pyarrow alone."""
    folder = settings.archive / table
    if not folder.is_dir():
        return []
    found = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive").to_table(columns=["project_id", key])
    return sorted((row["project_id"], str(row[key])) for row in found.to_pylist())


def live_keys(dsn: str, table: str, key: str) -> list[tuple[str, str]]:
    with connect(dsn) as connection:
        return sorted(connection.execute(f"select project_id, {key}::text from raw.{table}").fetchall())


def files(folder: Path) -> dict[str, str]:
    """Name below ``folder`` → SHA-256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
