"""When things happen: the nightly job and what starts runs without a person.

| name                  | starts                                              | as delivered |
|-----------------------|-----------------------------------------------------|--------------|
| nightly_aggregation_schedule | 02:00 UTC: yesterday, missed nights, every touched day | running |
| refresh_analytics_schedule | every hour: marts of optimization and evaluation | stopped   |
| new_log_files         | files in the watched folders that wait for ingest   | stopped      |
| late_data             | old days that late data touched, before the night   | stopped      |
| requested_refreshes   | somebody called refresh_optimization_analytics()    | stopped      |

The nightly schedule only derives from what is already in the warehouse, so it runs from the start. The others begin
to read a person's folders, or to aggregate by day: switching them on is a decision, taken in the UI.
"""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import psycopg

from pipelines.database import describe_error
from pipelines.defs.enrichment import embedding_checks, embeddings
from pipelines.defs.ingest import raw_checks, raw_evaluation, raw_executions, raw_optimization
from pipelines.defs.resources import Warehouse
from pipelines.defs.transform import AREA_TAG, SCOPE_TAG, dbt_models
from pipelines.ingest import Unreadable
from pipelines.ingest.pending import fingerprint, pending
from pipelines.maintenance.aggregation import FIRST_DAY, Scope

RETRY_AFTER = timedelta(hours=1)
"""Files that still wait although a run was asked for them are tried again after this long."""
SETTLED_AFTER = timedelta(minutes=10)
"""Late data usually come in bursts; a day is aggregated when it has been left alone for this long."""

MOST_DAYS_MADE_UP = 31
"""Nights without a daemon that the next one makes up for. Days with data are aggregated however old they are."""
DAILY_AGGREGATE = dg.AssetKey(["marts", "daily_command_stats"])
"""A mart that tells by its partitions which days have been aggregated."""

ingest_logs = dg.define_asset_job(
    "ingest_logs",
    selection=dg.AssetSelection.assets(raw_executions, raw_optimization, raw_evaluation, embeddings)
    | dg.AssetSelection.checks(*raw_checks.check_keys, *embedding_checks.check_keys),
    description="Ingest the watched folders, check the raw tables, then embed the texts that are new.",
)

nightly_aggregation = dg.define_asset_job(
    "nightly_aggregation",
    selection=dg.AssetSelection.assets(dbt_models) | dg.AssetSelection.checks(*dbt_models.check_keys),
    description="Build every mart for the days of the run and all days that late data have touched, and test them.",
)

_analytics = dg.AssetSelection.tag(AREA_TAG, "optimization") | dg.AssetSelection.tag(AREA_TAG, "evaluation")
refresh_analytics = dg.define_asset_job(
    "refresh_analytics",
    selection=_analytics | (_analytics.upstream() & dg.AssetSelection.groups("staging")),
    tags={SCOPE_TAG: Scope.ANALYTICS.value},
    description="Build the marts of optimization and evaluation, and test them; the others wait for the night.",
)


@dg.schedule(
    job=nightly_aggregation,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def nightly_aggregation_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every night at 02:00 UTC: aggregate yesterday, and with it the days of nights on which no daemon ran.

    Dagster itself makes up for none of them: it takes the last missed tick of a schedule and forgets the others.
    """
    yesterday = (context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)).date()
    first = min(_missing_days(context.instance, yesterday), default=yesterday)
    if first == yesterday:
        return dg.RunRequest(run_key=yesterday.isoformat(), partition_key=yesterday.isoformat())
    return dg.RunRequest(
        run_key=yesterday.isoformat(),
        tags={
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": yesterday.isoformat(),
        },
    )


def _missing_days(instance: dg.DagsterInstance, yesterday: date) -> list[date]:
    """Days before ``yesterday`` that Dagster has no aggregate of, though it has one of an earlier day."""
    built = {date.fromisoformat(key) for key in instance.get_materialized_partitions(DAILY_AGGREGATE)}
    if not built:
        return []
    recent = [yesterday - timedelta(days=n) for n in range(1, MOST_DAYS_MADE_UP + 1)]
    return [day for day in recent if day not in built and day > min(built)]


@dg.schedule(
    job=refresh_analytics,
    cron_schedule="30 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)
def refresh_analytics_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Every hour, after the first night: the marts of optimization and evaluation follow what was written since."""
    return dg.RunRequest(partition_key=context.scheduled_execution_time.astimezone(UTC).date().isoformat())


@dg.sensor(job=ingest_logs, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.STOPPED)
def new_log_files(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> dg.SensorResult | dg.SkipReason:
    """Ingest when files in the watched folders are new or have changed."""
    settings = warehouse.settings()
    try:
        waiting = pending(settings.all_watched_folders, dsn=warehouse.dsn(), settings=settings)
    except Unreadable as error:
        return dg.SkipReason(str(error))
    except psycopg.Error as error:
        return dg.SkipReason(describe_error(error))
    if not waiting:
        return dg.SkipReason("Every file in the watched folders has been ingested.")
    if _in_progress(context.instance, ingest_logs.name):
        return dg.SkipReason(f"{len(waiting)} files wait for the ingest that is running.")

    seen = fingerprint(waiting)
    asked = json.loads(context.cursor) if context.cursor else {}
    now = datetime.now(UTC)
    if asked.get("files") == seen and now < datetime.fromisoformat(asked["asked_at"]) + RETRY_AFTER:
        return dg.SkipReason(f"An ingest of these {len(waiting)} files was asked for at {asked['asked_at']}.")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{seen}-{now.isoformat()}", tags={"tracemill/files": str(len(waiting))})],
        cursor=json.dumps({"files": seen, "asked_at": now.isoformat()}),
    )


@dg.sensor(job=nightly_aggregation, minimum_interval_seconds=600, default_status=dg.DefaultSensorStatus.STOPPED)
def late_data(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Aggregate old days that were touched, without waiting for the night."""
    now = datetime.now(UTC)
    with warehouse.connect("tracemill_dbt") as connection:
        row = connection.execute(
            """
            select max(activity_date), max(touched_at)
            from ops.touched_days
            where activity_date < %s
            having max(touched_at) < %s
            """,
            [now.date() - timedelta(days=1), now - SETTLED_AFTER],
        ).fetchone()
    if row is None:
        yield dg.SkipReason("No old day has been touched and left alone since.")
        return
    newest, touched_at = row
    # One run takes all touched days along; it needs one of them as its partition.
    partition = max(newest, FIRST_DAY).isoformat()
    yield dg.RunRequest(run_key=f"late-{touched_at.isoformat()}", partition_key=partition)


@dg.sensor(job=refresh_analytics, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.STOPPED)
def requested_refreshes(warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
    """Build the marts that refresh_optimization_analytics() was called for."""
    with warehouse.connect("tracemill_dbt") as connection:
        row = connection.execute("select max(request_id) from ops.refresh_requests where taken_at is null").fetchone()
    if row is None or row[0] is None:
        return dg.SkipReason("Nobody waits for the marts of optimization and evaluation.")
    return dg.RunRequest(run_key=f"request-{row[0]}", partition_key=datetime.now(UTC).date().isoformat())


def _in_progress(instance: dg.DagsterInstance, job_name: str) -> bool:
    statuses = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    return bool(instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=statuses), limit=1))
