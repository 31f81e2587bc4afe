"""``tracemill aggregate``: the nightly job through Dagster, here and now."""

import dataclasses
import sys
from datetime import date
from typing import TYPE_CHECKING

import typer

from pipelines import settings as environment
from pipelines.cli.errors import CommandError
from pipelines.cli.output import print_json, step
from pipelines.cli.warehouse import ready_warehouse

if TYPE_CHECKING:
    from pipelines.maintenance.launch import AggregateResult, AggregateWarning


def aggregate(first: date | None, last: date | None, *, as_json: bool) -> int:
    """Aggregates and says which days were built; 1 when something failed."""
    from pipelines.maintenance import launch

    settings = environment.load()
    dsn = ready_warehouse(settings)
    try:
        with step("aggregating") as show:
            result = launch.aggregate(settings, dsn, first, last, on_line=show)
    except launch.BadPeriodError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json:
        print_json(dataclasses.asdict(result))
        return 0 if result.success else 1
    sys.stdout.write(describe(result) + "\n")
    return 0


def describe(result: "AggregateResult") -> str:
    """What was built. Raises CommandError with the reason when it was not."""
    if not result.success:
        raise CommandError(
            f"The aggregation failed: {result.detail or 'no reason was recorded'} "
            f"The days stay waiting; `tracemill ui` shows the run {result.run_id or ''}".rstrip()
            + ", and `tracemill aggregate` tries again."
        )
    if result.first is None or result.last is None:
        return f"Nothing had to be built ({result.seconds:.0f} s)."
    days = f"{result.day_count:,} {'day' if result.day_count == 1 else 'days'}"
    built = f"Built {days}, {result.first} to {result.last}, in {result.seconds:.0f} s."
    return "\n".join([built, *(_described(warning) for warning in result.warnings)])


def _described(warning: "AggregateWarning") -> str:
    rows = "1 row does" if warning.rows == 1 else f"{warning.rows:,} rows do"
    return f"Warning: {rows} not pass {warning.test}; the check of this name in `tracemill ui` says what it asks."
