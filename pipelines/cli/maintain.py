"""``tracemill maintain``: the maintenance jobs here and now, shown or carried out."""

import dataclasses
import sys
from typing import TYPE_CHECKING

import typer

from pipelines import settings as environment
from pipelines.cli.output import print_json, step
from pipelines.cli.warehouse import ready_warehouse

if TYPE_CHECKING:
    from pipelines.maintenance.jobs import Report


def maintain(job: str | None, *, applies: bool, as_json: bool) -> int:
    """Plans or applies one job, or all; 1 when something could not be done."""
    from pipelines.maintenance import jobs

    if job is not None and job not in jobs.JOBS:
        raise typer.BadParameter(f"There is no job {job!r}: choose one of {', '.join(jobs.JOBS)}.")
    settings = environment.load()
    dsn = ready_warehouse(settings)
    reports = []
    for name in [job] if job else list(jobs.JOBS):
        with step(name):
            reports.append(jobs.run(name, settings, dsn, applies=applies))
    has_problems = any(report.problems for report in reports)
    if as_json:
        print_json({"applied": applies, "jobs": [dataclasses.asdict(report) for report in reports]})
    else:
        sys.stdout.write("\n".join(describe(report) for report in reports) + "\n")
        if not applies and any(report.steps for report in reports):
            sys.stdout.write("Nothing was changed: `tracemill maintain --apply` does it.\n")
    return 1 if has_problems else 0


def describe(report: "Report") -> str:
    """The job and what it did or would do, a line each."""
    lines = [f"  {line}" for line in report.steps] or ["  nothing to do"]
    return "\n".join([f"{report.job}:", *lines, *(f"  PROBLEM {problem}" for problem in report.problems)])
