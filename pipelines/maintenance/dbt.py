"""How dbt finds the warehouse and where it keeps what it derives.

dbt wants host, port and user where everything else has one DSN, so this is the only place that takes a DSN apart;
libpq's own parser does it, and every parameter reaches dbt through the variable libpq reads it from. What dbt
derives (manifest, parse cache, logs) lies under ``<home>/dbt``: it depends on the connection, so it belongs to the
home and not to the checkout.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg import pq

from pipelines.settings import Settings

EXECUTABLE = Path(sys.executable).parent / "dbt"
MANIFEST = "manifest.json"
PARSE_CACHE = "partial_parse.msgpack"
NIGHTLY_BUILD = ("build", "--exclude-resource-type", "unit_test")
"""Unit tests ask whether the code is right, which no night can change."""

_NOT_SOURCES = {"target", "logs", "dbt_packages"}
_PARSE_SECONDS = 300
_SHOWN = 10


class DbtProjectError(Exception):
    """The dbt project cannot be read; the message is a sentence for the user."""


def target(settings: Settings) -> Path:
    """Folder of everything dbt derives."""
    return settings.home / "dbt"


def environment(settings: Settings, dsn: str) -> dict[str, str]:
    """Variables with which a dbt process works on the warehouse of ``dsn``."""
    return {
        **_libpq_variables(dsn),
        "DBT_PROJECT_DIR": str(settings.dbt_project),
        "DBT_PROFILES_DIR": str(settings.dbt_project),
        "DBT_TARGET_PATH": str(target(settings)),
        "DBT_LOG_PATH": str(target(settings)),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def _libpq_variables(dsn: str) -> dict[str, str]:
    defaults = {option.keyword: option for option in pq.Conninfo.get_defaults()}
    given = {option.keyword: option.val for option in pq.Conninfo.parse(dsn.encode()) if option.val is not None}
    values = {
        keyword: given.get(keyword, option.val)
        for keyword, option in defaults.items()
        if keyword in given or keyword in (b"host", b"port", b"user", b"dbname")
    }
    values[b"dbname"] = values.get(b"dbname") or values.get(b"user")
    return {
        os.fsdecode(variable): os.fsdecode(value or b"")
        for keyword, value in values.items()
        if (variable := defaults[keyword].envvar) is not None
    }


def prepare_manifest(settings: Settings, dsn: str) -> Path:
    """The manifest of the project as it is now, parsed when it is absent or older than a file of the project.

    Safe from several processes at once: one parses, the others wait. Parsing does not connect to ``dsn``. Raises
    DbtProjectError with dbt's own words when the project has an error.
    """
    folder = target(settings)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    with _locked(folder / "manifest.lock"):
        newest = _newest_source(settings.dbt_project)
        if not manifest.exists() or manifest.stat().st_mtime < newest:
            _parse(settings, dsn, folder)
            # What changes while dbt parses is newer than the manifest, and parsed the next time.
            os.utime(manifest, (newest, newest))
    return manifest


def describe_failure(folder: Path) -> str:
    """What failed in the dbt run whose artifacts lie in ``folder``, as sentences; else where its log is."""
    try:
        results = json.loads((folder / "run_results.json").read_bytes())["results"]
    except (OSError, ValueError, KeyError):
        results = []
    failed = [result for result in results if result["status"] in ("error", "fail")]
    if not failed:
        return f"dbt ended before it built anything; its log is {folder / 'dbt.log'}."
    shown = [f"{_node_name(result['unique_id'])}: {_one_line(result['message'] or '')}" for result in failed[:_SHOWN]]
    more = [f"and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
    return f"{len(failed)} of {len(results)} models and tests failed: {'; '.join([*shown, *more])}."


def _node_name(unique_id: str) -> str:
    # model.<project>.<name>, test.<project>.<name>.<hash>
    return unique_id.split(".")[2]


def _parse(settings: Settings, dsn: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="parse-", dir=folder) as scratch:
        variables = {**environment(settings, dsn), "DBT_TARGET_PATH": scratch, "DBT_LOG_PATH": scratch}
        outcome = subprocess.run(
            [str(EXECUTABLE), "--no-use-colors", "parse", "--quiet"],
            env={**os.environ, **variables}, cwd=settings.dbt_project, text=True, timeout=_PARSE_SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if outcome.returncode != 0:
            raise DbtProjectError(f"dbt cannot read {settings.dbt_project}: {_one_line(outcome.stdout)}")
        for name in (PARSE_CACHE, MANIFEST):
            (Path(scratch) / name).replace(folder / name)


def _newest_source(project: Path) -> float:
    newest = 0.0
    for folder, folders, files in os.walk(project):
        folders[:] = [name for name in folders if name not in _NOT_SOURCES and not name.startswith(".")]
        for name in (".", *files):
            newest = max(newest, (Path(folder) / name).stat().st_mtime)
    if not newest:
        raise DbtProjectError(f"The dbt project is missing: {project} does not exist; is this a whole checkout?")
    return newest


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """``variables`` in this process's environment for the length of the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
