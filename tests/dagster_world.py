"""A warehouse with Dagster on it: database, home, environment and a few days of sample logs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from psycopg import conninfo, sql

from pipelines.database import connect
from pipelines.maintenance.dagster_home import prepare_dagster_home
from pipelines.samples import SampleTruth, generate
from pipelines.settings import REPOSITORY, Settings, load

LAST_DAY = date(2026, 3, 31)
"""Past for every clock, so that its partition exists."""
PASSWORD = "correct-horse-battery-staple"
"""The test server trusts everybody; the password is there to be looked for where it must not be."""


@dataclass(frozen=True)
class World:
    """Everything a test needs to know."""

    dsn: str
    settings: Settings
    environment: dict[str, str]
    truth: SampleTruth

    @property
    def logs(self) -> Path:
        return self.truth.folder

    @property
    def dagster_dsn(self) -> str:
        return conninfo.make_conninfo(self.dsn, dbname=f"{conninfo.conninfo_to_dict(self.dsn)['dbname']}_dagster")

    def python(self, code: str, *, timeout: float = 120) -> str:
        """What ``code`` prints in a fresh interpreter."""
        outcome = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **self.environment}, cwd=REPOSITORY,
            capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    def dagster(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """One call of Dagster's own command line in the checkout."""
        return subprocess.run(
            [sys.executable, "-m", "dagster", *arguments], env={**os.environ, **self.environment}, cwd=REPOSITORY,
            capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip


@contextmanager
def dagster_world(
    migrated_database: Callable[[], AbstractContextManager[str]], folder: Path, **samples: object
) -> Iterator[World]:
    """A World whose watched folder holds the samples, not ingested yet; its environment is this process's meanwhile."""
    truth = generate(folder / "logs", **{"days": 4, "last_day": LAST_DAY, "size_bytes": 300_000, **samples})  # type: ignore[arg-type]
    with migrated_database() as bare, pytest.MonkeyPatch.context() as patch:
        dsn = bare.replace("postgres@", f"postgres:{PASSWORD}@")
        variables = {
            "TRACEMILL_HOME": str(folder / "home"),
            "TRACEMILL_DATABASE_URL": dsn,
            "TRACEMILL_WATCHED_FOLDERS": str(truth.folder),
            "TRACEMILL_REDACTION_KEY": "key of the tests",
            "TRACEMILL_DEVICE_ID": "test-device",
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        settings = load()
        environment = prepare_dagster_home(settings, dsn)
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            yield World(dsn, settings, {**variables, **environment}, truth)
        finally:
            with connect(conninfo.make_conninfo(dsn, dbname="postgres"), autocommit=True) as admin:
                name = sql.Identifier(str(conninfo.conninfo_to_dict(dsn)["dbname"]) + "_dagster")
                admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))


def fingerprints(dsn: str, schemas: tuple[str, ...] = ("intermediate", "marts")) -> dict[str, str]:
    """Table → hash of all its rows, whatever their order."""
    with connect(dsn) as connection:
        tables = connection.execute(
            "select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = any(%s) order by 1",
            [list(schemas)],
        ).fetchall()
        found = {}
        for (table,) in tables:
            query = f"select count(*), md5(coalesce(string_agg(r::text, '|' order by r::text), '')) from {table} as r"
            found[table] = json.dumps(connection.execute(query).fetchone())
    return found
