"""``tracemill ingest``: log files into the raw tables, with progress and a report in words."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipelines import settings as environment
from pipelines.cli.output import count, ingest_progress, megabytes, print_json
from pipelines.cli.warehouse import ready_warehouse

if TYPE_CHECKING:
    from pipelines.ingest.report import IngestReport

_NAMES = {"command_executions": "executions"}
_SHOWN_PROBLEMS = 20


def ingest(places: Sequence[str], *, project: str | None, source: str, jobs: int, as_json: bool) -> int:
    """Ingests ``places``, paths and storage addresses; 1 when something was quarantined or could not be used."""
    if source != "auto" and source not in (known := _formats()):
        raise typer.BadParameter(f"--source {source!r} is not known: choose one of auto, {', '.join(known)}.")
    # Optuna names a file by an address, too; a file can be copied and known again.
    places = [place.removeprefix("sqlite:///") for place in places]
    storages = [place for place in places if "://" in place]
    paths = [Path(place) for place in places if "://" not in place]
    for path in paths:
        if not path.expanduser().exists():
            raise typer.BadParameter(f"{path} does not exist; give a log file or a folder that holds some.")
    from pipelines import ingest as work

    settings = environment.load()
    dsn = ready_warehouse(settings)
    with ingest_progress() as show:
        report = work.run(
            paths,
            dsn=dsn,
            settings=settings,
            storages=storages,
            project=project,
            source=source,
            jobs=jobs,
            on_progress=show,
        )
    if as_json:
        print_json(report.to_json())
    else:
        sys.stdout.write(describe(report))
    return 1 if report.has_problems else 0


def _formats() -> list[str]:
    from pipelines.sources import READERS
    from pipelines.sources.documents import FORMATS

    return sorted([*READERS, *FORMATS])


def describe(report: "IngestReport") -> str:
    """The report in a few lines, problems last."""
    states = ", ".join(f"{number:,} {state}" for state, number in sorted(report.files_by_state.items()) if number)
    rate = f", {report.bytes_read / 1e6 / report.seconds:.1f} MB/s" if report.seconds > 0 and report.bytes_read else ""
    lines = [
        f"{count(report.files)} files ({states or 'none'}), {megabytes(report.bytes_read)} read "
        f"in {report.seconds:.1f} s{rate}"
    ]
    for table, counts in report.records.items():
        if not (counts.inserted or counts.updated or counts.unchanged):
            continue
        name = _NAMES.get(table, table.replace("_", " "))
        lines.append(
            f"  {name:<23} {count(counts.inserted):>10} new {count(counts.updated):>10} changed "
            f"{count(counts.unchanged):>10} known"
        )
    if report.unknown_lines:
        kinds = ", ".join(f"{kind} ({number:,})" for kind, number in report.unknown_lines.most_common(5))
        lines.append(f"  Lines of unknown kinds, left out: {kinds}")
    if report.quarantined:
        lines.append(
            f"  {count(report.quarantined)} lines could not be understood and are in quarantine "
            "(table ops.quarantined_records):"
        )
    for problem in report.problems[:_SHOWN_PROBLEMS]:
        place = problem.path if problem.line is None else f"{problem.path}:{problem.line}"
        lines.append(f"  {place}: {problem.detail}")
    if len(report.problems) > _SHOWN_PROBLEMS:
        lines.append(f"  … and {len(report.problems) - _SHOWN_PROBLEMS:,} more; --json gives all.")
    return "\n".join(lines) + "\n"
