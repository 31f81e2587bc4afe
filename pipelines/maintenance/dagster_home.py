"""Everything a Dagster process needs before it starts: its home, its database, its environment.

Dagster keeps its runs and events in a database of its own beside the warehouse, named ``<warehouse>_dagster`` and
made here when missing. Nothing in this module imports dagster, so the command line can afford it.
"""

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo, sql

from pipelines.database import connect
from pipelines.maintenance import dbt
from pipelines.settings import REPOSITORY, Settings

TEMPLATE = REPOSITORY / "dagster.yaml"

_LONGEST_NAME = 63
_SUFFIX = "_dagster"


class DagsterHomeError(Exception):
    """Dagster's home or database cannot be made; the message is a sentence for the user."""


def prepare_dagster_home(settings: Settings, dsn: str) -> dict[str, str]:
    """Make what is missing and return the environment for a Dagster process that works on ``dsn``.

    Safe to repeat and to run twice at once. Raises DagsterHomeError; psycopg.Error when ``dsn`` cannot be reached.
    """
    _copy_template(settings.dagster_home)
    database = _ensure_database(dsn)
    return {
        **dbt.environment(settings, dsn),
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_PG_URL": sqlalchemy_url(dsn, database),
        # One insert for the events of many partitions instead of one each.
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
        "TRACEMILL_HOME": str(settings.home),
        "TRACEMILL_DATABASE_URL": dsn,
        "PATH": _path(),
        "PYTHONUNBUFFERED": "1",
    }


def _path() -> str:
    """PATH with the programs of this environment first."""
    programs, path = str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)
    return path if path.split(os.pathsep)[0] == programs else os.pathsep.join([programs, path])


def sqlalchemy_url(dsn: str, database: str) -> str:
    """``dsn`` with another database, as SQLAlchemy and psycopg2 want it; every other parameter is kept."""
    parameters = {name: str(value) for name, value in conninfo.conninfo_to_dict(dsn).items()}
    parameters.pop("dbname", None)
    user = quote(parameters.pop("user", ""), safe="")
    password = quote(parameters.pop("password", ""), safe="")
    login = user + (f":{password}" if password else "") + ("@" if user or password else "")
    return f"postgresql+psycopg2://{login}/{quote(database, safe='')}?{urlencode(parameters)}"


def _copy_template(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / TEMPLATE.name).exists():
            shutil.copyfile(TEMPLATE, home / TEMPLATE.name)
    except OSError as error:
        raise DagsterHomeError(
            f"Dagster's home {home} cannot be written: {error.strerror}; set TRACEMILL_HOME to a folder that can."
        ) from error


def dagster_database(warehouse: str) -> str:
    """Name of Dagster's database beside the database ``warehouse``."""
    return warehouse[: _LONGEST_NAME - len(_SUFFIX)] + _SUFFIX


def _ensure_database(dsn: str) -> str:
    with connect(dsn, autocommit=True) as connection:
        name = dagster_database(connection.info.dbname)
        if connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            return name
        try:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return name  # another process has just made it
        except psycopg.errors.InsufficientPrivilege as error:
            user = connection.info.user
            raise DagsterHomeError(
                f"Dagster needs the database {name} on the server of the warehouse, and {user} may not create it: "
                f'ask an administrator for: create database "{name}" owner "{user}";'
            ) from error
        return name
