"""What assets reach the outside world with.

No resource has a field that holds a DSN or a key: settings are read when a run needs them, so no secret can get
into run configuration, and none into Dagster's log.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster_dbt import DbtCliInvocation, DbtCliResource
from packaging.version import Version

from pipelines import database, settings
from pipelines.maintenance import dbt


class Warehouse(dg.ConfigurableResource[Any]):
    """The PostgreSQL database that the environment names, or the embedded one."""

    def settings(self) -> settings.Settings:
        """Settings of this process, read now."""
        return settings.load()

    def dsn(self) -> str:
        """DSN of the warehouse; the embedded server is started when it is not running."""
        return database.dsn(self.settings())

    @contextmanager
    def connect(self, role: str) -> Iterator[psycopg.Connection[Any]]:
        """An autocommit connection acting as ``role``; a database error ends the step with a sentence."""
        try:
            with database.connect(self.dsn(), role=role, autocommit=True) as connection:
                yield connection
        except psycopg.Error as error:
            raise dg.Failure(database.describe_error(error)) from error


class WarehouseDbt(DbtCliResource):
    """dbt on the warehouse: its connection comes from the DSN, not from configuration.

    What the parent finds out by starting dbt (its version, 4 s) is known, and the parent's own connection is of use
    only for row counts of whole tables, which a nightly run must not pay for.
    """

    @property
    def _cli_version(self) -> Version:
        return Version(installed_version("dbt-core"))

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None

    def cli(self, args: Sequence[str], **options: Any) -> DbtCliInvocation:
        """Start dbt; see the parent."""
        current = settings.load()
        with dbt.exported(dbt.environment(current, database.dsn(current))):
            return super().cli(args, **options)


def keep_parse_cache(invocation: DbtCliInvocation) -> None:
    """After a good run: what dbt parsed serves the next run, the rest of the run's folder goes."""
    folder = invocation.target_path
    cache = folder / dbt.PARSE_CACHE
    if cache.exists():
        cache.replace(folder.parent / dbt.PARSE_CACHE)
    shutil.rmtree(folder, ignore_errors=True)


def dbt_resource() -> WarehouseDbt:
    """The dbt of this environment on the project of this checkout."""
    project = settings.load().dbt_project
    return WarehouseDbt(
        project_dir=str(project),
        profiles_dir=str(project),
        dbt_executable=str(_found(dbt.EXECUTABLE)),
    )


def _found(executable: Path) -> Path | str:
    return executable if executable.exists() else "dbt"
