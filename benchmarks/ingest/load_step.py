"""The load step alone: the rows of an ingest, made beforehand, into the raw tables by two processes.

It is what clients that only write rows compare with: COPY, look-up of what is stored, merge, all indexes. Run twice
over the same rows it changes nothing, which a plain insert does not promise.
"""

import multiprocessing
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.ingest.peers import TABLES, partitioned_database
from benchmarks.measure import fresh_database
from pipelines import settings
from pipelines.database import connect
from pipelines.ingest import merge, prices, projects, runner
from pipelines.ingest.rows import StagedRows


def keep_rows(logs: Path, home: Path, folder: Path) -> list[Path]:
    """Ingests ``logs`` and keeps the staged rows of each batch in a file; the files in their order."""
    folder.mkdir()
    kept: list[Path] = []
    real = merge.merge

    def merge_and_keep(connection: Any, staged: StagedRows) -> Any:
        kept.append(folder / f"{len(kept):04}.pickle")
        kept[-1].write_bytes(pickle.dumps(staged))
        return real(connection, staged)

    environment = {"TRACEMILL_HOME": str(home), "TRACEMILL_REDACTION_KEY": "the key of benchmarks"}
    with patch.object(merge, "merge", merge_and_keep):
        runner.run([logs], dsn=fresh_database(home, "kept"), settings=settings.load(environment), jobs=1)
    return kept


def seconds(kept: Sequence[Path], home: Path, like: str) -> float:
    """Time to load all of ``kept`` into a fresh database that has the partitions, as for the raw COPY.

    Raises RuntimeError when its tables then hold other numbers of rows than those of ``like``.
    """
    dsn = partitioned_database(home, "loaded", like)
    prices.load()  # like what is imported, no part of the work
    started = time.perf_counter()
    # Neighbours belong to one project, which one process at a time can merge.
    middle = len(kept) // 2
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.starmap(_load, [(dsn, kept[:middle]), (dsn, kept[middle:])], chunksize=1)
    elapsed = time.perf_counter() - started
    if (loaded := _row_counts(dsn)) != (expected := _row_counts(like)):
        raise RuntimeError(f"{loaded} rows were loaded, {expected} are in the logs")
    return elapsed


def _load(dsn: str, kept: Sequence[Path]) -> None:
    with connect(dsn, role=runner.ROLE) as connection:
        merge.prepare(connection, "benchmark")
        for path in kept:
            staged: StagedRows = pickle.loads(path.read_bytes())  # noqa: S301 (written above)
            rows = (*staged.executions, *staged.requests, *staged.tool_calls)
            projects.register(connection, {row[0] for row in rows})
            merge.store_prices(connection, prices.price_rows(staged.models))
            with connection.transaction():
                merge.merge(connection, staged)


def _row_counts(dsn: str) -> dict[str, Any]:
    with connect(dsn) as connection:
        return {table: connection.execute(f"select count(*) from raw.{table}").fetchone() for table in TABLES}
