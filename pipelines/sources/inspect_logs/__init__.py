"""Logs of Inspect AI, ``.json`` and ``.eval``: an evaluation is a simulation, a sample of an epoch is an outcome.

The files are opened by ``inspect_ai`` itself (extra ``inspect``), which knows their older layouts; samples come in
batches, so memory holds a few of them whatever the log's size. One that cannot be understood is set aside, the others
are loaded. A log that is still being written is loaded as far as it goes, as running.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipelines.sources.documents import Document
from pipelines.sources.outputs import Record, Scenario
from pipelines.sources.records import BadLine

from . import library
from .samples import outcome_of, scenario_of
from .simulation import simulation_of

__all__ = ["matches", "read"]

_JSON = re.compile(
    rb'\A(?:\xef\xbb\xbf)?\s*\{\s*"version"\s*:\s*\d+\s*,\s*'
    rb'(?:"status"\s*:\s*"(?:started|success|cancelled|error)"\s*,\s*)?"eval"\s*:\s*\{'
)
_ZIP = re.compile(rb"\APK\x03\x04.{26}(?:_journal/|samples/|header\.json|summaries\.json|reductions\.json)", re.DOTALL)


def matches(path: Path, head: bytes) -> bool:
    """Whether the file is an Inspect log, by its first bytes."""
    return (_ZIP if head.startswith(b"PK") else _JSON).match(head) is not None


def read(document: Document) -> Iterator[Record]:
    """Scenarios, outcomes and, when all of them are known, their simulation. Raises Unreadable."""
    log = library.open_log(document.path)
    scenarios: dict[str, Scenario] = {}
    for sample in library.samples(log):
        if isinstance(sample, BadLine):
            yield sample
            continue
        scenario = scenario_of(log.header, sample)
        if scenario.scenario_id not in scenarios:
            scenarios[scenario.scenario_id] = scenario
            yield scenario
        yield outcome_of(log.header, sample, document.modified_at)
    yield simulation_of(log.header, list(scenarios.values()), log_format=log.format)
