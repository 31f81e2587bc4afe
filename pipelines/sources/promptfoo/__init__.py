"""Results of promptfoo, ``json`` (version 3) and ``jsonl``: each provider with each prompt is a simulation.

A simulation is known by the id of its first test's result, which both files have; the evaluation's own id stands in
only one of them. Results come in the order in which they were finished, so the document is read twice: once to see
what belongs together, once to give it. A ``jsonl`` beside a ``json`` of the same name and evaluation is the same
results with less about their settings: the ``json`` stands for both.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from pipelines.sources import json_documents
from pipelines.sources.documents import Document
from pipelines.sources.outputs import Record, Unreadable
from pipelines.sources.records import BadLine

from .outcomes import outcome_of, scenario_of
from .results import open_results
from .runs import Runs

__all__ = ["matches", "read", "root"]

_OF_DOCUMENT = frozenset({"evalId", "results", "results.version"})
_OF_LINE = frozenset({"testIdx", "promptIdx", "latencyMs", "namedScores", "success"})


def matches(path: Path, head: bytes) -> bool:
    """Whether the file holds results of promptfoo, by the fields it starts with."""
    keys = json_documents.leading_keys(head)
    return keys >= _OF_DOCUMENT or keys >= _OF_LINE


def root(path: Path) -> Path:
    """The ``json`` that stands for a ``jsonl``, where there is one; else the file itself."""
    twin = path.with_suffix(".json")
    if path.suffix != ".jsonl" or not twin.is_file():
        return path
    try:
        first = next((item for _, item in open_results(path).items() if not isinstance(item, BadLine)), None)
        return twin if first is not None and first.id and _holds(twin, first.id) else path
    except (Unreadable, OSError):
        return path


def read(document: Document) -> Iterator[Record]:
    """Scenarios, simulations and outcomes. Raises Unreadable."""
    results = open_results(root(document.path))
    runs = Runs(results, document.modified_at)
    yield from runs.simulations()
    seen: set[str] = set()
    for place, item in results.items():
        if isinstance(item, BadLine):
            yield item
            continue
        scenario = scenario_of(item, place)
        if scenario.scenario_id not in seen:
            seen.add(scenario.scenario_id)
            yield scenario
        yield outcome_of(item, place, runs.run_of(item))


def _holds(path: Path, text: str) -> bool:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(text.encode()) >= 0
