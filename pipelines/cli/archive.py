"""``tracemill archive``: what left the database, and the way back."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import TYPE_CHECKING

import typer

from pipelines import settings as environment
from pipelines.cli.errors import CommandError
from pipelines.cli.output import megabytes, print_json, step
from pipelines.cli.warehouse import ready_warehouse

if TYPE_CHECKING:
    from pipelines.maintenance.restore import ArchivedMonth

_WAIT_SECONDS = 60.0


def list_months(*, project: str | None, as_json: bool) -> int:
    """Shows the archived months."""
    from pipelines.database import connect
    from pipelines.maintenance import jobs, restore

    settings = environment.load()
    with connect(ready_warehouse(settings), role=jobs.ROLE, autocommit=True) as connection:
        months = restore.listed(connection, project_id=project)
    if as_json:
        print_json({"folder": str(settings.archive), "months": [asdict(month) for month in months]})
    else:
        sys.stdout.write(describe(months) + "\n")
    return 0


def restore_months(
    *, project: str | None, domain: str | None, month: date | None, hold_days: int, as_json: bool
) -> int:
    """Puts archived months back into their tables."""
    from pipelines.database import connect
    from pipelines.maintenance import jobs, restore, retention
    from pipelines.maintenance.lock import maintenance_lock

    if domain is not None and domain not in retention.DOMAINS + retention.AUDIT:
        raise typer.BadParameter(f"There is no domain {domain!r}: choose one of {', '.join(retention.DOMAINS)}.")
    settings = environment.load()
    with (
        connect(ready_warehouse(settings), role=jobs.ROLE, autocommit=True) as connection,
        maintenance_lock(connection, _WAIT_SECONDS),
        step("restoring"),
    ):
        wanted = restore.listed(connection, project_id=project, domain=domain, month=month)
        if domain is None:
            wanted = [found for found in wanted if found.domain != "audit"]
        if not wanted:
            raise CommandError("No archived month is like that: `tracemill archive list` shows those there are.")
        done = restore.restore(connection, settings.archive, wanted, timedelta(days=hold_days))
    if as_json:
        print_json({"restored": [asdict(restored) for restored in done], "held_days": hold_days})
        return 0
    sys.stdout.write("".join(f"{restored}\n" for restored in done))
    sys.stdout.write(f"Retention leaves them alone for {hold_days} days.\n")
    return 0


def describe(months: Sequence["ArchivedMonth"]) -> str:
    """A line for each month of a table."""
    if not months:
        return "Nothing has been archived."
    lines = []
    for month in months:
        held = f" until {month.held_until:%Y-%m-%d}" if month.held_until else ""
        lines.append(
            f"{month.month:%Y-%m}  {month.project_id}  {month.relation.partition('.')[2]}  {month.row_count:,} rows  "
            f"{megabytes(month.size_bytes)}  {month.state}{held}"
        )
    return "\n".join(lines)
