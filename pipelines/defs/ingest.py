"""Logs of coding agents into the raw tables, and what must hold there afterwards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from pydantic import Field

from pipelines import ingest
from pipelines.defs.resources import Warehouse
from pipelines.ingest import IngestReport
from pipelines.maintenance import raw_preview
from pipelines.maintenance.raw_checks import CHECKS, RawCheck

ROLE = "tracemill_ingest"
_SHOWN_PROBLEMS = 20

_SPECS = (
    dg.AssetSpec(
        ["raw", "command_executions"],
        description="One row per user command or prompt, with all work until the next one.",
        group_name="executions",
        kinds={"postgres"},
    ),
    dg.AssetSpec(
        ["raw", "model_requests"],
        description="One row per API response, however many log lines and files repeat it.",
        group_name="executions",
        kinds={"postgres"},
    ),
    dg.AssetSpec(
        ["raw", "tool_calls"],
        description="One row per tool use.",
        group_name="executions",
        kinds={"postgres"},
    ),
)


class IngestConfig(dg.Config):
    """What to ingest; by default the watched folders."""

    paths: list[str] = Field(default=[], description="Files or folders with logs; empty means the watched folders.")
    project: str | None = Field(
        default=None, description="Project for all of them; empty means the one each log names."
    )
    jobs: int = Field(default=2, ge=1, le=64, description="Processes that read files side by side.")


@dg.multi_asset(specs=_SPECS, name="raw_executions")
def raw_executions(
    context: dg.AssetExecutionContext, config: IngestConfig, warehouse: Warehouse
) -> Iterator[dg.MaterializeResult[Any]]:
    """All raw tables of executions, from one reading of the logs."""
    settings = warehouse.settings()
    paths = [Path(path).expanduser() for path in config.paths] or settings.watched_folders
    with warehouse.connect(ROLE) as connection:
        try:
            report = ingest.run(paths, dsn=warehouse.dsn(), settings=settings, project=config.project, jobs=config.jobs)
        except (ingest.Unreadable, ingest.BadProject, ingest.WorkerDied) as error:
            raise dg.Failure(str(error)) from error
        for problem in report.problems[:_SHOWN_PROBLEMS]:
            context.log.warning(f"{problem.path}: {problem.detail}")
        for spec in _SPECS:
            yield dg.MaterializeResult(asset_key=spec.key, metadata=_metadata(connection, spec.key.path[-1], report))


def _metadata(
    connection: psycopg.Connection[Any], table: str, report: IngestReport
) -> dict[str, dg.MetadataValue[Any]]:
    counts = report.records[table]
    rate = report.bytes_read / report.seconds / 1e6 if report.seconds else 0.0
    return {
        "dagster/row_count": dg.MetadataValue.int(raw_preview.row_count(connection, table)),
        "dagster/table_name": dg.MetadataValue.text(f"raw.{table}"),
        "inserted": dg.MetadataValue.int(counts.inserted),
        "updated": dg.MetadataValue.int(counts.updated),
        "unchanged": dg.MetadataValue.int(counts.unchanged),
        "files": dg.MetadataValue.json(dict(report.files_by_state)),
        "bytes": dg.MetadataValue.int(report.bytes_read),
        "megabytes_per_second": dg.MetadataValue.float(round(rate, 1)),
        "quarantined": dg.MetadataValue.int(report.quarantined),
        "problems": dg.MetadataValue.int(len(report.problems)),
        "preview": dg.MetadataValue.md(raw_preview.newest_rows(connection, table)),
    }


def _spec(check: RawCheck) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(check.name, asset=["raw", check.table], description=check.description, blocking=True)


@dg.multi_asset_check(name="raw_executions_checks", specs=[_spec(check) for check in CHECKS])
def raw_executions_checks(warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    """What must hold in the raw tables before anything is derived from them."""
    with warehouse.connect(ROLE) as connection:
        for check in CHECKS:
            finding = check.run(connection)
            yield dg.AssetCheckResult(
                asset_key=["raw", check.table],
                check_name=check.name,
                passed=finding.count == 0,
                metadata={"rows": finding.count, "example": finding.example or "none"},
            )
