"""Logs and outputs into the raw tables, and what must hold there afterwards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from pydantic import Field

from pipelines import ingest
from pipelines.defs.resources import Warehouse
from pipelines.ingest import IngestReport
from pipelines.ingest.report import TableCounts
from pipelines.maintenance import table_preview
from pipelines.maintenance.raw_checks import CHECKS, RawCheck
from pipelines.settings import Settings

ROLE = "tracemill_ingest"
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class RawGroup:
    """Raw tables that are filled from the same kind of files."""

    name: str
    """Group of the assets; the multi-asset is called ``raw_<name>``."""
    folders: Callable[[Settings], Sequence[Path]]
    """Where new files appear by themselves."""
    tables: Mapping[str, str]
    """Table → one row per what."""

    @property
    def specs(self) -> list[dg.AssetSpec]:
        """One asset a table."""
        return [
            dg.AssetSpec(["raw", table], description=description, group_name=self.name, kinds={"postgres"})
            for table, description in self.tables.items()
        ]


GROUPS = (
    RawGroup(
        "executions",
        lambda settings: settings.watched_folders,
        {
            "command_executions": "One row per user command or prompt, with all work until the next one.",
            "model_requests": "One row per API response, however many log lines and files repeat it.",
            "tool_calls": "One row per tool use.",
        },
    ),
    RawGroup(
        "optimization",
        lambda settings: settings.optimization_folders,
        {
            "optimization_runs": "One row per run of an optimizer.",
            "optimization_iterations": "One row per evaluation of a candidate within a run.",
            "optimization_samples": "One row per example evaluated within an iteration.",
        },
    ),
    RawGroup(
        "evaluation",
        lambda settings: settings.evaluation_folders,
        {
            "configurations": "One row per named configuration.",
            "config_versions": "One row per version of a configuration, never changed.",
            "config_diffs": "One row per pair of versions of one configuration.",
            "scenarios": "One row per task that configurations are put to.",
            "simulations": "One row per run of a configuration over scenarios.",
            "outcomes": "One row per scenario run once by a simulation.",
            "tool_usage": "One row per call of a tool within an outcome.",
            "failure_patterns": "One row per failure within an outcome.",
        },
    ),
)


class IngestConfig(dg.Config):
    """What to ingest; by default the watched folders."""

    paths: list[str] = Field(default=[], description="Files or folders to read; empty means the watched folders.")
    project: str | None = Field(
        default=None, description="Project for all of them; empty means the one each log names."
    )
    jobs: int = Field(default=2, ge=1, le=64, description="Processes that read files side by side.")


def _ingest_asset(group: RawGroup) -> dg.AssetsDefinition:
    @dg.multi_asset(specs=group.specs, name=f"raw_{group.name}")
    def raw_tables(
        context: dg.AssetExecutionContext, config: IngestConfig, warehouse: Warehouse
    ) -> Iterator[dg.MaterializeResult[Any]]:
        """All raw tables of the group, from one reading of its files."""
        settings = warehouse.settings()
        paths = [Path(path).expanduser() for path in config.paths] or group.folders(settings)
        with warehouse.connect(ROLE) as connection:
            report = _ingest(paths, warehouse, settings, config)
            for problem in report.problems[:_SHOWN_PROBLEMS]:
                context.log.warning(f"{problem.path}: {problem.detail}")
            for table in group.tables:
                yield dg.MaterializeResult(asset_key=["raw", table], metadata=_metadata(connection, table, report))

    return raw_tables


def _ingest(paths: Sequence[Path], warehouse: Warehouse, settings: Settings, config: IngestConfig) -> IngestReport:
    if not paths:
        return IngestReport()
    try:
        return ingest.run(paths, dsn=warehouse.dsn(), settings=settings, project=config.project, jobs=config.jobs)
    except (ingest.Unreadable, ingest.BadProject, ingest.WorkerDied) as error:
        raise dg.Failure(str(error)) from error


raw_executions, raw_optimization, raw_evaluation = (_ingest_asset(group) for group in GROUPS)

simulation_progress = dg.AssetSpec(
    ["raw", "simulation_progress"],
    deps=[["raw", "simulations"]],
    description="How far each simulation is, one row per simulation: a view.",
    group_name="evaluation",
    kinds={"postgres"},
)


def _metadata(
    connection: psycopg.Connection[Any], table: str, report: IngestReport
) -> dict[str, dg.MetadataValue[Any]]:
    counts = report.records.get(table, TableCounts())
    rate = report.bytes_read / report.seconds / 1e6 if report.seconds else 0.0
    return {
        "dagster/row_count": dg.MetadataValue.int(table_preview.row_count(connection, "raw", table)),
        "dagster/table_name": dg.MetadataValue.text(f"raw.{table}"),
        "inserted": dg.MetadataValue.int(counts.inserted),
        "updated": dg.MetadataValue.int(counts.updated),
        "unchanged": dg.MetadataValue.int(counts.unchanged),
        "files": dg.MetadataValue.json(dict(report.files_by_state)),
        "bytes": dg.MetadataValue.int(report.bytes_read),
        "megabytes_per_second": dg.MetadataValue.float(round(rate, 1)),
        "quarantined": dg.MetadataValue.int(report.quarantined),
        "problems": dg.MetadataValue.int(len(report.problems)),
        "preview": dg.MetadataValue.md(table_preview.newest_rows(connection, table)),
    }


def _spec(check: RawCheck) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(check.name, asset=["raw", check.table], description=check.description, blocking=True)


@dg.multi_asset_check(name="raw_checks", specs=[_spec(check) for check in CHECKS], can_subset=True)
def raw_checks(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    """What must hold in the raw tables before anything is derived from them."""
    with warehouse.connect(ROLE) as connection:
        for check in CHECKS:
            if _spec(check).key not in context.selected_asset_check_keys:
                continue
            finding = check.run(connection)
            yield dg.AssetCheckResult(
                asset_key=["raw", check.table],
                check_name=check.name,
                passed=finding.count == 0,
                metadata={"rows": finding.count, "example": finding.example or "none"},
            )
