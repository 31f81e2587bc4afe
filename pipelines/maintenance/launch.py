"""The nightly aggregation here and now: the job itself, run by Dagster in a process of its own.

The run is recorded in Dagster's instance like any other, so the UI shows it. What it did to the warehouse is read
from ``ops.refresh_log``, which the job writes; Dagster's own log is only passed on, line by line, as progress.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from pipelines.database import connect
from pipelines.maintenance.aggregation import FIRST_DAY
from pipelines.maintenance.dagster_home import prepare_dagster_home
from pipelines.settings import REPOSITORY, Settings

JOB = "nightly_aggregation"

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RUN_ID = re.compile(rf"{JOB} - ([0-9a-f]{{8}}-[0-9a-f-]{{27}}) - ")
_DBT_PROGRESS = re.compile(r"^(\d+ of \d+) (?!START)(.*?)(?: \.{2,})?(?: \[.*)?$")
_DBT_WARNING = re.compile(r"^\d+ of \d+ WARN (\d+) (\w+)")
_DAGSTER_MESSAGE = re.compile(r" - dagster - (?:INFO|WARNING|ERROR) - .*? - (?:\w+ - )?([A-Z][^-]*)$")
_KEPT_LINES = 40
_LONGEST_LINE = 100

OnLine = Callable[[str], None]


class BadPeriodError(ValueError):
    """The days asked for cannot be aggregated; the message is a sentence for the user."""


@dataclass(frozen=True)
class AggregateWarning:
    """A dbt test that found something without stopping the aggregation."""

    test: str
    rows: int


@dataclass(frozen=True)
class AggregateResult:
    """What one aggregation did."""

    success: bool
    run_id: str | None
    """Dagster's run, to be found in the UI; None when Dagster did not get as far."""
    first: date | None
    last: date | None
    """First and last day rebuilt."""
    day_count: int
    detail: str | None
    """Why it failed, as sentences."""
    warnings: tuple[AggregateWarning, ...]
    seconds: float


def aggregate(
    settings: Settings,
    dsn: str,
    first: date | None = None,
    last: date | None = None,
    on_line: OnLine | None = None,
) -> AggregateResult:
    """Rebuild the days from ``first`` to ``last``, and every day that data have touched, and test the result.

    Without days: yesterday, as at night. ``on_line`` gets a line of text for each step. Raises BadPeriodError,
    DagsterHomeError, and psycopg.Error when ``dsn`` cannot be reached.
    """
    first, last = _period(first, last)
    started = time.monotonic()
    environment = {**os.environ, **prepare_dagster_home(settings, dsn)}
    before = _last_refresh(dsn)
    command = [
        sys.executable, "-W", "ignore", "-m", "dagster", "job", "execute",
        "--module-name", "pipelines.definitions", "--job", JOB, "--tags", _partition_tags(first, last),
    ]  # fmt: skip
    lines: list[str] = []
    warnings: list[AggregateWarning] = []
    shown: set[str] = set()
    run_id = None
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        for line in process.stdout:
            plain = _ANSI.sub("", line).rstrip()
            lines = [*lines[1 - _KEPT_LINES :], plain]
            if run_id is None and (found := _RUN_ID.search(plain)):
                run_id = found[1]
            if found := _DBT_WARNING.match(plain):
                warnings.append(AggregateWarning(found[2], int(found[1])))
            if on_line is not None and (readable := _readable(plain)) and readable not in shown:
                shown.add(readable)  # errors repeat at the end what was said when it happened
                on_line(readable)
    result = _result(dsn, before, process.returncode == 0, run_id, lines, time.monotonic() - started)
    return replace(result, warnings=tuple(warnings))


def _period(first: date | None, last: date | None) -> tuple[date, date]:
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    start = first or last or yesterday
    end = last or max(yesterday, start)
    if start > end:
        raise BadPeriodError(f"The period ends before it begins ({start} to {end}): give the earlier day first.")
    if start < FIRST_DAY:
        raise BadPeriodError(f"There are no days before {FIRST_DAY} to ask for: begin at {FIRST_DAY}.")
    if end > today:
        raise BadPeriodError(f"{end} is in the future: end at {today} or before.")
    return start, end


def _partition_tags(first: date, last: date) -> str:
    if first == last:
        return f'{{"dagster/partition": "{first}"}}'
    return f'{{"dagster/asset_partition_range_start": "{first}", "dagster/asset_partition_range_end": "{last}"}}'


def _readable(line: str) -> str | None:
    """What a person wants to see of a line: dbt's finished steps and our own messages."""
    if found := _DBT_PROGRESS.match(line):
        return f"{found[1]}  {found[2]}"[:_LONGEST_LINE]
    if found := _DAGSTER_MESSAGE.search(line):
        return found[1]
    return None


def _last_refresh(dsn: str) -> int:
    with connect(dsn, role="tracemill_dbt") as connection:
        row = connection.execute("select coalesce(max(refresh_id), 0) from ops.refresh_log").fetchone()
        return row[0] if row else 0


def _result(
    dsn: str, before: int, success: bool, run_id: str | None, lines: list[str], seconds: float
) -> AggregateResult:
    row: tuple[Any, ...] | None
    try:
        with connect(dsn, role="tracemill_dbt") as connection:
            row = connection.execute(
                """
                select first_date, last_date, day_count, status, detail
                from ops.refresh_log
                where refresh_id > %s and scope = 'all'
                order by refresh_id
                limit 1
                """,
                [before],
            ).fetchone()
    except psycopg.Error:
        row = None
    if row is None:
        detail = None if success else f"Dagster ended before the aggregation began: {_last_error(lines)}"
        return AggregateResult(success, run_id, None, None, 0, detail, (), seconds)
    first, last, day_count, status, detail = row
    success = success and status == "succeeded"
    return AggregateResult(success, run_id, first, last, day_count, None if success else detail, (), seconds)


def _last_error(lines: list[str]) -> str:
    """The last line that names an error, else the last line."""
    named = [line.strip() for line in lines if re.search(r"\b\w*(?:Error|Failure)\b: ", line)]
    spoken = [line.strip() for line in lines if line.strip()]
    return (named or spoken or ["it said nothing."])[-1]
