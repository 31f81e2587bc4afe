"""Where an MLflow store and its artifacts are, and how MLflow's own store classes read it without touching it.

MLflow writes when it opens: it makes folders, and brings an older database up to its own schema. So it is given a
copy. A database is copied whole; of a file store (``mlruns/``) everything but the artifacts, which stay where they
are and are read there.
"""

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipelines.sources.outputs import Unreadable
from pipelines.sources.sqlite_files import COMPANIONS, MAGIC, database_of, holds_tables, snapshot

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Metric
    from mlflow.entities import Run as MlflowRun

TABLES = frozenset({"alembic_version", "experiments", "runs", "params", "metrics", "latest_metrics", "tags"})

_ID = r"(?:tr-|m-)?[0-9a-f]{32}"
_OF_RUN = re.compile(
    rf"^(?P<above>.+)/(?P<id>{_ID})/(?:artifacts|metrics|params|tags|inputs|outputs|meta\.yaml)(?:/|$)"
)
_DATABASE_NAMES = (".db", ".sqlite", ".sqlite3")
_LEVELS = 3
"""Folders above a run's artifacts in which its database is looked for: artifacts/, an experiment's, the store's."""
_PAGE = 1_000


def root_of(path: Path, head: bytes) -> Path | None:
    """Database or ``mlruns`` folder that ``path`` is a part of, else None."""
    if head.startswith(MAGIC) or path.name.endswith(COMPANIONS):
        database = database_of(path)
        return database if holds_tables(database, TABLES) else None
    if path.name == "meta.yaml" and _is_experiment(path.parent):
        return path.parent.parent
    of_run = _OF_RUN.match(path.as_posix())
    if of_run is None:
        return None
    folder = Path(of_run["above"])
    for candidate in (folder, *folder.parents)[:_LEVELS]:
        if _is_experiment(candidate):
            return candidate.parent
        if (beside := _database_in(candidate)) is not None:
            return beside
    return None


def _is_experiment(folder: Path) -> bool:
    try:
        with (folder / "meta.yaml").open("rb") as stream:
            head = stream.read(4096).decode("utf-8", "replace")
    except OSError:
        return False
    of_folder = re.search(rf"^experiment_id: ['\"]?{re.escape(folder.name)}['\"]?$", head, re.MULTILINE)
    return of_folder is not None and "artifact_location:" in head


def _database_in(folder: Path) -> Path | None:
    try:
        with os.scandir(folder) as entries:
            files = sorted(entry.path for entry in entries if entry.name.endswith(_DATABASE_NAMES))
        return next((Path(file) for file in files if _is_database(file, Path(file).stat().st_mtime_ns)), None)
    except OSError:
        return None


@lru_cache(maxsize=256)
def _is_database(file: str, _modified: int) -> bool:
    """Remembered, for it is asked of every artifact."""
    return holds_tables(Path(file), TABLES)


@dataclass(frozen=True)
class Store:
    """An opened store."""

    path: Path
    """As given, not the copy: artifacts are there or beside it."""
    _library: Any

    def experiments(self) -> Iterator["Experiment"]:
        """Experiments that are not deleted. Raises Unreadable."""
        token = None
        while True:
            page = self._ask("search_experiments", max_results=_PAGE, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def runs(self, experiment_id: str) -> list["MlflowRun"]:
        """Runs in the order in which they began, deleted ones included. Raises Unreadable."""
        from mlflow.entities import ViewType

        runs: list[MlflowRun] = []
        token = None
        while True:
            page = self._ask("search_runs", [experiment_id], "", ViewType.ALL, _PAGE, page_token=token)
            runs += page
            if not (token := page.token):
                return sorted(runs, key=lambda run: (run.info.start_time or 0, run.info.run_id))

    def history(self, run_id: str, metric: str) -> list["Metric"]:
        """All values of a metric, by step. Raises Unreadable."""
        return sorted(self._ask("get_metric_history", run_id, metric), key=lambda m: (m.step, m.timestamp))

    def passed_over(self, experiment_id: str, runs: Iterable["MlflowRun"]) -> list[str]:
        """Runs of a file store that MLflow leaves out without a word, because their files are damaged."""
        known = {run.info.run_id for run in runs}
        folders = (self.path / experiment_id).glob("*/meta.yaml") if self.path.is_dir() else ()
        return sorted(
            path.parent.name
            for path in folders
            if re.fullmatch(_ID, path.parent.name) and path.parent.name not in known
        )

    def _ask(self, question: str, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(self._library, question)(*arguments, **options)
        except Exception as error:
            # Over damaged data the library lets through whatever its parts raise.
            told = str(error).partition("\n")[0] or type(error).__name__
            raise Unreadable(f"MLflow cannot read its own store ({told}); copy it again from where it is.") from error

    def artifacts(self, run: "MlflowRun") -> Path | None:
        """Folder of the run's artifacts, here or moved along with the store; None where it is not to be found."""
        uri = urlsplit(run.info.artifact_uri or "")
        place = Path(unquote(uri.path))
        parts = place.parts[1:] if place.is_absolute() else place.parts
        if run.info.run_id not in parts or ".." in parts:
            return None
        base = self.path if self.path.is_dir() else self.path.parent
        # The longer the part of the path that is found beside the store, the surer it is the same folder.
        for start in range(parts.index(run.info.run_id) + 1):
            if (beside := base.joinpath(*parts[start:])).is_dir():
                return beside
        return place if uri.scheme in ("", "file") and place.is_absolute() and place.is_dir() else None


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """The store at ``path``, a database or an ``mlruns`` folder. Raises Unreadable."""
    if path.is_dir():
        with tempfile.TemporaryDirectory(prefix="tracemill-") as folder:
            yield Store(path, _file_store(path, Path(folder) / "mlruns"))
    else:
        with snapshot(path) as copy:
            library = _database_store(copy)
            try:
                yield Store(path, library)
            finally:
                library.engine.dispose()


def _file_store(path: Path, copy: Path) -> Any:
    _prepare()
    from mlflow.store.tracking.file_store import FileStore

    try:
        shutil.copytree(path, copy, ignore=_left_out)
    except (OSError, shutil.Error) as error:
        raise Unreadable(f"The MLflow folder cannot be copied ({error}); it may be in use, ingest it again.") from error
    return FileStore(str(copy))


def _left_out(folder: str, names: list[str]) -> set[str]:
    """Artifacts, but not their folder: without one MLflow takes a run for a forgery."""
    return set(names) if Path(folder).name == "artifacts" else {"models", "traces", ".trash"} & set(names)


def _database_store(copy: Path) -> Any:
    _prepare()
    import sqlalchemy
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"sqlite:///{copy}"
    scripts = ScriptDirectory.from_config(utils._get_alembic_config(uri))
    with closing(sqlite3.connect(copy)) as connection:
        revision = connection.execute("select version_num from alembic_version").fetchone()
    if revision is None or revision[0] not in {script.revision for script in scripts.walk_revisions()}:
        raise Unreadable(
            f"Its schema {revision[0] if revision else '(none)'} comes from an MLflow newer than the one installed; "
            "pip install -U mlflow-skinny."
        )
    try:
        if revision[0] != scripts.get_current_head():
            engine = sqlalchemy.create_engine(uri)
            utils._upgrade_db(engine)
            engine.dispose()
        return SqlAlchemyStore(uri, str(copy.parent))
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise Unreadable(f"The MLflow database does not fit its own schema ({reason}); copy it again.") from error


def _prepare() -> None:
    """Imports the library, which reads its switches as it does so."""
    # It would report its use to its makers, and refuse mlruns folders.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    try:
        import mlflow.store.tracking  # noqa: F401
    except ImportError as error:
        raise Unreadable("It is an MLflow store; pip install 'tracemill[mlflow]' lets tracemill read it.") from error
