"""``tracemill demo``: from nothing to marts, with sample logs, the way one's own logs go.

The samples are the same every time and their files carry the times they tell of, so a second demo finds everything
known and changes no number. The summary is read from the database, for the sample projects only.
"""

import sys
import time
from dataclasses import asdict

from pipelines import settings as environment
from pipelines.cli.aggregate import describe as describe_aggregation
from pipelines.cli.demo.summary import Summary, read_summary
from pipelines.cli.demo.text import describe
from pipelines.cli.output import count, ingest_progress, megabytes, print_json, say, step
from pipelines.cli.warehouse import ready_warehouse

__all__ = ["Summary", "demo", "describe", "read_summary"]


def demo(*, as_json: bool) -> int:
    """Runs every step and prints the summary; 1 when a planted secret was stored."""
    from pipelines import ingest
    from pipelines.enrichment import embed_missing
    from pipelines.maintenance import launch
    from pipelines.samples import demo as samples

    started = time.monotonic()
    settings = environment.load()
    with step("starting the database"):
        dsn = ready_warehouse(settings)
    with step("writing sample logs"):
        truth = samples.write(settings.home / "demo")
    logs = truth.logs
    say(
        f"Samples:    {logs.files:,} logs of coding agents ({megabytes(logs.bytes)}), {len(truth.runs)} optimization "
        f"runs, {truth.simulations} evaluations, in {logs.folder}"
    )
    with ingest_progress() as show:
        report = ingest.run([logs.folder], dsn=dsn, settings=settings, on_progress=show)
    written = sum(counts.inserted + counts.updated for counts in report.records.values())
    say(f"Ingested:   {count(written)} rows new or changed, in {report.seconds:.1f} s")
    with step("aggregating") as show_line:
        result = launch.aggregate(settings, dsn, logs.last_day, logs.last_day, on_line=show_line)
    say(f"Aggregated: {describe_aggregation(result)}")
    with step("embedding"):
        vectors = embed_missing(dsn, settings, projects=logs.projects)
    say(f"Embedded:   {count(vectors.embeddings)} new texts, in {vectors.seconds:.1f} s")
    summary = read_summary(dsn, truth)
    if as_json:
        print_json(asdict(summary))
    else:
        sys.stdout.write(describe(summary, seconds=time.monotonic() - started))
    return 1 if summary.secrets_left else 0
