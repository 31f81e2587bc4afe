"""``tracemill embed``: vectors for what has none yet."""

import sys

from pipelines import settings as environment
from pipelines.cli.output import count, print_json, step
from pipelines.cli.warehouse import ready_warehouse


def embed(*, as_json: bool) -> int:
    """Brings the vectors up to date and says how many there are."""
    from pipelines.enrichment import embed_missing

    settings = environment.load()
    dsn = ready_warehouse(settings)
    with step("embed"):
        report = embed_missing(dsn, settings)
    if as_json:
        print_json(report.to_json())
        return 0
    lines = [
        f"{count(report.embeddings)} new vectors by {report.model}, {count(report.removed)} removed, "
        f"in {report.seconds:.1f} s"
    ]
    lines += [f"  {kind:<14} {count(number):>10} subjects" for kind, number in report.subjects.items() if number]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
