"""``tracemill similar``: what resembles a text, as an analyst inside one project sees it."""

import dataclasses
import sys
from typing import cast, get_args

import typer

from pipelines import settings as environment
from pipelines.cli import reader
from pipelines.cli.errors import CommandError
from pipelines.cli.output import format_table, print_json

_SECONDS = 60


def similar(text: str, *, project: str | None, kind: str, limit: int, as_json: bool) -> int:
    """Prints what is most like ``text``. Raises CommandError when there is nothing to compare with."""
    from pipelines.enrichment import Kind, choose, find_alike
    from pipelines.ingest.redaction import Redactor, load_key

    if kind not in get_args(Kind):
        raise typer.BadParameter(f"--kind {kind!r} is not known: choose one of {', '.join(get_args(Kind))}.")
    if not text.strip():
        raise typer.BadParameter('The text is empty: write for example "connection timed out".')
    settings = environment.load()
    chosen = reader.choose_project(settings, project)
    # What is stored was redacted, and what leaves for an endpoint must be.
    query = Redactor(load_key(settings)).text(text)
    embedder = choose(settings.embedder)
    with reader.session(settings, project=chosen, seconds=_SECONDS) as connection:
        found = find_alike(connection, embedder, query, project=chosen, kind=cast(Kind, kind), limit=limit)
    if not found:
        raise CommandError(
            f"No {kind} of project {chosen} has a vector of {embedder.model}: run `tracemill embed`, "
            "after `tracemill ingest PATH` where nothing of the kind was ingested."
        )
    if as_json:
        print_json({"query": query, "project": chosen, "kind": kind, "model": embedder.model,
                    "results": [dataclasses.asdict(row) for row in found]})  # fmt: skip
        return 0
    columns = ("similarity", "times", "last seen", "what", "text")
    rows = [
        (f"{row.similarity:.3f}", row.times, f"{row.last_seen_at:%Y-%m-%d}", row.title, row.content) for row in found
    ]
    sys.stdout.write(format_table(columns, rows) + "\n")
    return 0
