"""The Dagster code location: every definition by name, with the resources they share."""

import dagster as dg

from pipelines.defs.alerts import run_failures, send_alerts, send_alerts_schedule
from pipelines.defs.automation import (
    ingest_logs,
    late_data,
    new_log_files,
    nightly_aggregation,
    nightly_aggregation_schedule,
    refresh_analytics,
    refresh_analytics_schedule,
    requested_refreshes,
)
from pipelines.defs.enrichment import embedding_checks, embeddings
from pipelines.defs.ingest import raw_checks, raw_evaluation, raw_executions, raw_optimization, simulation_progress
from pipelines.defs.maintenance import maintenance_jobs, maintenance_schedules
from pipelines.defs.resources import Warehouse, dbt_resource
from pipelines.defs.transform import dbt_models

defs = dg.Definitions(
    assets=[raw_executions, raw_optimization, raw_evaluation, simulation_progress, embeddings, dbt_models],
    asset_checks=[raw_checks, embedding_checks],
    jobs=[ingest_logs, nightly_aggregation, refresh_analytics, send_alerts, *maintenance_jobs],
    schedules=[nightly_aggregation_schedule, refresh_analytics_schedule, send_alerts_schedule, *maintenance_schedules],
    sensors=[new_log_files, late_data, requested_refreshes, run_failures],
    resources={"warehouse": Warehouse(), "dbt_cli": dbt_resource()},
    # A run is a process of its own; whether it is one on this machine or elsewhere is the run launcher's choice.
    executor=dg.in_process_executor,
)
