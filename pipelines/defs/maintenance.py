"""Jobs that keep the warehouse alive for years, and when they run.

| job                   | schedule (UTC)            | as delivered |
|-----------------------|---------------------------|--------------|
| maintain_partitions   | daily at 00:30            | running      |
| purge_dagster_events  | daily at 04:30            | running      |
| apply_retention       | daily at 03:30            | stopped      |
| cleanup_audit_log     | monthly, the 2nd at 05:00 | stopped      |

The stopped ones take data out of the database, into files that somebody should back up first: switching them on is a
decision, taken in the UI. A person who launches a job gets its plan; `apply: true` carries it out, as schedules do.
"""

from typing import Any

import dagster as dg
import psycopg
from pydantic import Field

from pipelines.database import describe_error
from pipelines.defs.resources import Warehouse
from pipelines.maintenance import jobs
from pipelines.maintenance.dagster_home import DagsterHomeError
from pipelines.maintenance.lock import MaintenanceBusyError

POOL = "maintenance"

_DESCRIPTIONS = {
    "maintain_partitions": "Make monthly partitions three months ahead, empty the DEFAULT ones, vacuum and analyze.",
    "purge_dagster_events": "Delete old events of Dagster itself, but for the last word on each partition.",
    "apply_retention": "Archive months past their limit to verified Parquet files and take them out of the database.",
    "cleanup_audit_log": "Archive months of the audit log that are older than a year and drop their partitions.",
}
_CRON = {
    "maintain_partitions": "30 0 * * *",
    "purge_dagster_events": "30 4 * * *",
    "apply_retention": "30 3 * * *",
    "cleanup_audit_log": "0 5 2 * *",
}
_STOPPED = {"apply_retention", "cleanup_audit_log"}


class MaintenanceConfig(dg.Config):
    """Whether to do it, or to say what would be done."""

    apply: bool = Field(default=False, description="Carry the plan out; else it is only shown.")


def _op(job: str) -> str:
    """Name of the job's only op; Dagster wants it to differ from the job's."""
    return f"run_{job}"


def _job(name: str) -> dg.JobDefinition:
    @dg.op(name=_op(name), pool=POOL, description=_DESCRIPTIONS[name])
    def maintain(context: dg.OpExecutionContext, config: MaintenanceConfig, warehouse: Warehouse) -> None:
        _run(name, context, config, warehouse)

    @dg.job(name=name, description=_DESCRIPTIONS[name])
    def maintenance_job() -> None:
        maintain()

    return maintenance_job


def _run(name: str, context: dg.OpExecutionContext, config: MaintenanceConfig, warehouse: Warehouse) -> None:
    try:
        report = jobs.run(name, warehouse.settings(), warehouse.dsn(), applies=config.apply)
    except (MaintenanceBusyError, DagsterHomeError) as error:
        raise dg.Failure(str(error)) from error
    except psycopg.Error as error:
        raise dg.Failure(describe_error(error)) from error
    metadata: dict[str, Any] = {
        "applied": report.applied,
        **report.counts,
        "steps": dg.MetadataValue.md("\n".join(f"- {step}" for step in report.steps) or "Nothing to do."),
    }
    context.add_output_metadata(metadata)
    context.log.info(("Done" if report.applied else "Would be done") + f": {'; '.join(report.steps) or 'nothing'}.")
    if report.problems:
        raise dg.Failure(" ".join(report.problems), metadata=metadata)


def _schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=_CRON[job.name],
        execution_timezone="UTC",
        run_config={"ops": {_op(job.name): {"config": {"apply": True}}}},
        default_status=(dg.DefaultScheduleStatus.STOPPED if job.name in _STOPPED else dg.DefaultScheduleStatus.RUNNING),
        description=_DESCRIPTIONS[job.name],
    )


maintenance_jobs = [_job(name) for name in jobs.JOBS]
maintenance_schedules = [_schedule(job) for job in maintenance_jobs]
