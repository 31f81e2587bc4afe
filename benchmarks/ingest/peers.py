"""The work that each peer does; every function returns the seconds that count."""

import importlib.util
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.measure import Finished, fresh_database, run_command
from pipelines.database import connect

TABLES = ("command_executions", "model_requests", "tool_calls")
_LOAD_WITH_DLT = Path(__file__).with_name("load_with_dlt.py")
_SOME_FAILED = (0, 1)
"""The samples hold torn lines, which go to quarantine and make the status 1."""


@dataclass(frozen=True)
class Tracemill:
    """The whole command, process start included, on a server of its own."""

    logs: Path
    home: Path
    jobs: int = 2

    def ingest(self, database: str, *, memory: bool = False) -> Finished:
        """The first ingest, into a database made for it."""
        return self._command(fresh_database(self.home, database), memory)

    def again(self, dsn: str) -> Finished:
        """An ingest of files that have not changed since."""
        return self._command(dsn, memory=False)

    def _command(self, dsn: str, memory: bool) -> Finished:
        environment = {
            "TRACEMILL_HOME": str(self.home),
            "TRACEMILL_DATABASE_URL": dsn,
            "TRACEMILL_REDACTION_KEY": "the key of benchmarks",
            "TRACEMILL_DEVICE_ID": "benchmark",
        }
        arguments = ["ingest", str(self.logs), "--jobs", str(self.jobs), "--json"]
        command = [sys.executable, "-m", "pipelines.cli", *arguments]
        return run_command(command, env=environment, accepted=_SOME_FAILED, memory=memory)


@dataclass(frozen=True)
class Dump:
    """The rows of one ingest: as COPY text, and a sample of them as JSON for clients that take objects."""

    folder: Path
    rows: int
    sampled_rows: int

    @property
    def scale(self) -> float:
        """All rows over those of the sample."""
        return self.rows / self.sampled_rows


def dump(dsn: str, folder: Path, share: float) -> Dump:
    """Writes the three tables; every row with a hash below ``share`` is in the sample."""
    (folder / "sample").mkdir(parents=True)
    rows = sampled = 0
    with connect(dsn) as connection:
        for table in TABLES:
            with (folder / f"{table}.copy").open("wb") as file, connection.cursor() as cursor:
                with cursor.copy(f"copy (select * from raw.{table}) to stdout") as copy:
                    for data in copy:
                        file.write(data)
                rows += cursor.rowcount
            with (folder / "sample" / f"{table}.jsonl").open("w") as file, connection.cursor() as cursor:
                cursor.execute(
                    f"select row_to_json(r)::text from raw.{table} as r where hashtext(r::text) & 65535 < %s",
                    [share * 65536],
                )
                for (line,) in cursor:
                    file.write(line + "\n")
                    sampled += 1
    return Dump(folder, rows, sampled)


def partitioned_database(home: Path, name: str, like: str) -> str:
    """DSN of a fresh database with the partitions that the rows of ``like`` need."""
    dsn = fresh_database(home, name)
    with connect(like) as source, connect(dsn) as connection:
        months = source.execute("select min(timestamp)::date, max(timestamp)::date from raw.model_requests").fetchone()
        connection.execute("select ops.ensure_month_partitions(%s, %s)", months)
    return dsn


def copy_rows(dump: Dump, home: Path, like: str) -> float:
    """Raw COPY of all rows into fresh tables with the same partitions and indexes."""
    with connect(partitioned_database(home, "copied", like)) as connection:
        started = time.perf_counter()
        for table in TABLES:
            with (
                (dump.folder / f"{table}.copy").open("rb") as file,
                connection.cursor() as cursor,
                cursor.copy(f"copy raw.{table} from stdin") as copy,
            ):
                while data := file.read(1 << 18):
                    copy.write(data)
        connection.commit()
        return time.perf_counter() - started


def load_with_pandas(dump: Dump, home: Path) -> float:
    """What pandas.to_sql takes for the sample in tables that it makes itself, scaled to all rows."""
    import pandas as pd
    from sqlalchemy import create_engine

    dsn = fresh_database(home, "by_pandas")
    engine = create_engine(dsn.replace("postgresql://", "postgresql+psycopg://"))
    seconds = 0.0
    for table in TABLES:
        with (dump.folder / "sample" / f"{table}.jsonl").open() as file:
            frame = pd.DataFrame([_flat(json.loads(line)) for line in file])
        started = time.perf_counter()
        frame.to_sql(table, engine, schema="public", index=False)
        seconds += time.perf_counter() - started
    engine.dispose()
    return seconds * dump.scale


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in row.items()}


def load_with_dlt(dump: Dump, home: Path, python: Path, disposition: Literal["append", "merge"]) -> float:
    """What dlt's pipeline.run takes for the sample in tables that it makes itself, scaled to all rows.

    Merging, a second run changes nothing, as with an ingest; appending, it doubles every row.
    """
    dsn = fresh_database(home, "by_dlt").replace("postgresql://postgres@/", "postgresql://postgres:unused@localhost/")
    environment = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "PYTHONPATH": ""}
    command = [str(python), str(_LOAD_WITH_DLT), dsn, str(dump.folder / "sample"), disposition]
    loaded = run_command(command, env=environment)
    return float(loaded.output.split()[-1]) * dump.scale


def find_dlt(option: Path | None) -> Path | None:
    """Python of an environment that has dlt: the option, TRACEMILL_BENCH_DLT, or this one."""
    named = option or (Path(value) if (value := os.environ.get("TRACEMILL_BENCH_DLT")) else None)
    if named is None and importlib.util.find_spec("dlt") is not None:
        return Path(sys.executable)
    return named


def find_ccusage() -> Path | None:
    """The program: TRACEMILL_BENCH_CCUSAGE, or what is on the PATH."""
    found = os.environ.get("TRACEMILL_BENCH_CCUSAGE") or shutil.which("ccusage")
    return Path(found) if found else None


def ccusage(program: Path, logs: Path) -> Finished:
    """Sums per day, nothing else; its total is what shows that it read the same files."""
    command = [str(program), "claude", "daily", "--offline", "--json", "--timezone", "UTC", "--breakdown"]
    return run_command([*command, "--order", "asc"], env={"CLAUDE_CONFIG_DIR": str(logs)})
