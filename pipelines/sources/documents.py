"""Formats that are read whole: a file, or a folder whose files belong together, gives one stream of records.

Unlike a log, a document has no place to go on from: when it has changed it is read again, and its records, which are
told apart by the names in it, take the place of what they were.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from pipelines.sources.outputs import Record

__all__ = ["FORMATS", "Document", "Format", "identify"]


@dataclass(frozen=True)
class Document:
    """What a reader is given."""

    path: Path
    """A file, or the folder that holds all of it."""
    modified_at: datetime
    """Newest of its files; dates what has no time of its own."""


@dataclass(frozen=True)
class Format:
    """One format: how it is told, what belongs together, how it is read. The module is imported when it is needed.

    The module has ``matches(path, head) -> bool`` (``head``: first bytes, decompressed), ``read(document)``, which
    yields records and raises ``outputs.Unreadable``, and, where several files make one document, ``root(path)``, the
    folder (or file) that stands for all of them.
    """

    module: str

    def matches(self, path: Path, head: bytes) -> bool:
        """Whether the file belongs to a document of this format."""
        return bool(self._load().matches(path, head))

    def root(self, path: Path) -> Path:
        """File or folder that stands for the whole document."""
        root: Callable[[Path], Path] | None = getattr(self._load(), "root", None)
        return root(path) if root else path

    def read(self, document: Document) -> Iterator[Record]:
        """All records of the document. Raises Unreadable."""
        records: Iterator[Record] = self._load().read(document)
        return records

    def _load(self) -> Any:
        return import_module(self.module)


FORMATS: Mapping[str, Format] = {
    # First, for it knows its artifacts by their place, and some of them are programs of DSPy.
    "mlflow": Format("pipelines.sources.mlflow"),
    "arc_eval": Format("pipelines.sources.arc_eval"),
    "dspy": Format("pipelines.sources.dspy"),
    "evaluation_jsonl": Format("pipelines.sources.evaluation_jsonl"),
    "inspect": Format("pipelines.sources.inspect_logs"),
    "optuna": Format("pipelines.sources.optuna"),
    "promptfoo": Format("pipelines.sources.promptfoo"),
    "runs_json": Format("pipelines.sources.runs_json"),
    "tau2": Format("pipelines.sources.tau.tau2"),
    "tau_bench": Format("pipelines.sources.tau.bench"),
}
"""By name; asked in this order."""


def identify(path: Path, head: bytes) -> str | None:
    """Name of the format of the file at ``path``, by its first bytes (decompressed) and, for stores, its tables."""
    return next((name for name, format_ in FORMATS.items() if format_.matches(path, head)), None)
