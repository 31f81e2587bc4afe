"""The whole nightly_aggregation through Dagster: in processes of its own, and in one that has run it before."""

import io
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from benchmarks.nightly.warehouses import NEW_DAY, Warehouse
from pipelines.maintenance import dbt, launch
from pipelines.maintenance.dagster_home import prepare_dagster_home


def started_anew(warehouse: Warehouse) -> float:
    """Seconds from the start of its process to the end. Raises RuntimeError with the reason when it fails."""
    warehouse.write_runs_again()
    result = launch.aggregate(warehouse.settings, warehouse.dsn, NEW_DAY, NEW_DAY)
    if not result.success:
        raise RuntimeError(f"nightly_aggregation failed: {result.detail}")
    return result.seconds


def in_this_process(warehouse: Warehouse) -> float:
    """Seconds of the job in this process, its events stored as ever; importing Dagster is not counted.

    The definitions that are loaded first stay, so it is always about the same warehouse.
    """
    with dbt.exported(prepare_dagster_home(warehouse.settings, warehouse.dsn)):
        import dagster as dg

        from pipelines.definitions import defs
        from pipelines.defs.transform import manifest

        if not manifest().is_relative_to(Path(warehouse.settings.home)):
            raise RuntimeError("Dagster's definitions in this process are those of another warehouse.")
        job = defs.resolve_job_def(launch.JOB)
        warehouse.write_runs_again()
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), dg.DagsterInstance.get() as instance:
            started = time.perf_counter()
            job.execute_in_process(instance=instance, partition_key=NEW_DAY.isoformat())
            return time.perf_counter() - started
