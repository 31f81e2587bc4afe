"""dbt: every derived table and view, built by one dbt process a run.

A run first puts its days on the work list (pipelines.maintenance.aggregation), then dbt rebuilds what is on it. A
run of all models also takes along every day that late data have touched, and closes prompts that nobody answered;
a run of some models only rebuilds the days asked for, unless its tags name a scope.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError
from psycopg import Connection

from pipelines import settings
from pipelines.database import embedded
from pipelines.defs.partitions import activity_days
from pipelines.defs.resources import Warehouse, WarehouseDbt, keep_parse_cache
from pipelines.maintenance import aggregation, dbt, reaper, restore, table_preview
from pipelines.maintenance.aggregation import Scope
from pipelines.maintenance.lock import MaintenanceBusyError, maintenance_lock

AREA_TAG = "tracemill/area"
"""Tag of marts, and of steps towards them: executions, optimization or evaluation."""
SCOPE_TAG = "tracemill/scope"
"""Tag of runs of some models that stand for more than the models picked by hand."""
DAY_COLUMN = "activity_date"
ROW_COUNT = "dagster/row_count"
"""Metadata of a table that Dagster's UI shows as its number of rows."""
_WAIT_SECONDS = 1800
_OWN_TESTS = ("--indirect-selection", "cautious")
"""No tests that also read marts which this run does not build."""


class LayerTranslator(DagsterDbtTranslator):
    """Groups by dbt layer; daily partitions for the models that are rebuilt day by day."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The top folder of the model: staging, intermediate, marts or monitoring."""
        return str(dbt_resource_props["fqn"][1]) if dbt_resource_props["resource_type"] == "model" else None

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, str]:
        """The area of a mart or of a step towards one, which is the folder it is in."""
        tags, (_, layer, *path) = super().get_tags(dbt_resource_props), dbt_resource_props["fqn"]
        return {**tags, AREA_TAG: path[0]} if layer in ("intermediate", "marts") else tags

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition[Any] | None:
        """Days for incremental models that have a day column; the others are built whole."""
        is_incremental = dbt_resource_props.get("config", {}).get("materialized") == "incremental"
        return activity_days if is_incremental and DAY_COLUMN in dbt_resource_props.get("columns", {}) else None


@cache
def manifest() -> Path:
    """The manifest of the dbt project, made when absent or out of date; needs no running server."""
    current = settings.load()
    return dbt.prepare_manifest(current, current.database_url or embedded.status(current.home).dsn())


@dbt_assets(
    manifest=manifest(),
    name="dbt_models",
    dagster_dbt_translator=LayerTranslator(
        DagsterDbtTranslatorSettings(enable_source_tests_as_checks=True, enable_dbt_views_as_virtual_assets=True)
    ),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def dbt_models(context: dg.AssetExecutionContext, dbt_cli: WarehouseDbt, warehouse: Warehouse) -> Iterator[Any]:
    """Models and tests of the dbt project."""
    scope = Scope(context.run.tags.get(SCOPE_TAG, Scope.SOME)) if context.is_subset else Scope.ALL
    if scope is Scope.ALL:
        with warehouse.connect("tracemill_ingest") as connection:
            closed = reaper.close_unanswered(connection, datetime.now(UTC))
        context.log.info(f"Closed {closed} prompts that nobody answered.")

    row_counts: dict[dg.AssetKey, int] = {}
    requested = _requested_days(context)
    _bring_back_archived_rows(context, warehouse, requested, scope)
    with warehouse.connect("tracemill_dbt") as connection:
        plan = _plan(context, connection, requested, scope)
        _refuse_archived_days(context, connection, plan, requested)
        context.log.info(f"Rebuilding {len(plan.days)} days: {_described(plan.days)}.")
        with aggregation.recorded(connection, plan):
            invocation = dbt_cli.cli(
                dbt.NIGHTLY_BUILD + (_OWN_TESTS if scope is Scope.ANALYTICS else ()), context=context
            )
            try:
                for event in invocation.stream():
                    yield _with_row_count(context, connection, event, row_counts)
            except DagsterDbtCliRuntimeError as error:
                raise dg.Failure(dbt.describe_failure(invocation.target_path)) from error
            _log_other_days(context, plan.days, requested, row_counts)
        keep_parse_cache(invocation)


def _with_row_count(
    context: dg.AssetExecutionContext, connection: Connection[Any], event: Any, row_counts: dict[dg.AssetKey, int]
) -> Any:
    """The event; if it says that a mart was built, with the number of its rows, which is noted too."""
    if not isinstance(event, dg.Output):
        return event
    key = context.asset_key_for_output(event.output_name)
    if key.path[0] != "marts":
        return event
    row_counts[key] = table_preview.row_count(connection, *key.path)
    return event.with_metadata({**event.metadata, ROW_COUNT: row_counts[key]})


def _requested_days(context: dg.AssetExecutionContext) -> tuple[date, date] | None:
    """First and last day asked for; None for a run of models without partitions."""
    if not any(tag in context.run.tags for tag in _PARTITION_TAGS):
        return None
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)


def _bring_back_archived_rows(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    requested: tuple[date, date] | None,
    scope: Scope,
) -> None:
    """Put archived rows of the days to build back; days whose rows cannot come back are skipped by the plan."""
    with warehouse.connect("tracemill_maintenance") as connection:
        days = aggregation.days_near_archive(connection, requested, with_touched=scope is Scope.ALL)
        if not days:
            return
        try:
            with maintenance_lock(connection, _WAIT_SECONDS):
                done, problems = restore.bring_back(connection, warehouse.settings().archive, days)
        except MaintenanceBusyError as error:
            done, problems = [], [str(error)]
    for restored in done:
        context.log.info(f"Before building their days, {restored}.")
    for problem in problems:
        context.log.warning(problem)


def _refuse_archived_days(
    context: dg.AssetExecutionContext,
    connection: Connection[Any],
    plan: aggregation.Plan,
    requested: tuple[date, date] | None,
) -> None:
    """Fail when a day that was asked for has rows that only the archive holds."""
    if not plan.skipped:
        return
    sentence = (
        f"{len(plan.skipped)} days ({_described(plan.skipped)}) are left as they are: rows of theirs are in the "
        "archive and did not come back. See `tracemill archive list` and `tracemill archive restore`."
    )
    if requested and any(requested[0] <= day <= requested[1] for day in plan.skipped):
        aggregation.fail(connection, plan, sentence)
        raise dg.Failure(sentence)
    context.log.warning(sentence)


_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")


def _plan(
    context: dg.AssetExecutionContext,
    connection: Connection[Any],
    requested: tuple[date, date] | None,
    scope: Scope,
) -> aggregation.Plan:
    first, last = requested or (None, None)
    try:
        return aggregation.plan(connection, first, last, scope=scope)
    except aggregation.AggregationBusyError:
        context.log.info("Waiting for another aggregation to end.")
    try:
        return aggregation.plan(connection, first, last, scope=scope, wait_seconds=_WAIT_SECONDS)
    except aggregation.AggregationBusyError as error:
        raise dg.Failure(str(error)) from error


def _log_other_days(
    context: dg.AssetExecutionContext,
    rebuilt: Sequence[date],
    requested: tuple[date, date] | None,
    row_counts: Mapping[dg.AssetKey, int],
) -> None:
    """Record the partitions that were rebuilt though the run was not started for them."""
    known = set(activity_days.get_partition_keys())
    others = [
        day.isoformat()
        for day in rebuilt
        if day.isoformat() in known and not (requested and requested[0] <= day <= requested[1])
    ]
    for key in sorted(context.selected_asset_keys):
        if context.assets_def.specs_by_key[key].partitions_def is not None:
            metadata = {ROW_COUNT: row_counts[key]} if key in row_counts else {}
            for day in others:
                context.log_event(dg.AssetMaterialization(key, partition=day, metadata=metadata))


def _described(days: Sequence[date]) -> str:
    if not days:
        return "none"
    return f"{days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"
