"""MLflow stores: databases (SQLite) and ``mlruns`` folders, with the artifacts that lie beside them.

Every run without a parent is an optimization run, and so is every run that has children; the children are its
iterations. A run without children has the steps of its score as iterations instead. Deleted runs are left out.

What DSPy's autologging leaves is known exactly: ``eval_full`` and ``eval_minibatch`` evaluations are kept apart, scores
are percentages, ``result_table.json`` holds the samples, ``model.json`` and ``best_model.json`` the programs, and
``valset.json`` (else ``trainset.json``) what they were measured on. Of other runs the score is the only metric, or
the one named score; where several could be it nothing is guessed: they stand in ``metadata.metrics``, unscored.
"""

from collections.abc import Iterator
from pathlib import Path

from pipelines.sources.documents import Document
from pipelines.sources.mlflow.runs import records
from pipelines.sources.mlflow.store import opened, root_of
from pipelines.sources.outputs import Record


def matches(path: Path, head: bytes) -> bool:
    """Whether the file belongs to an MLflow store: its database, a file of ``mlruns``, an artifact beside either."""
    return root_of(path, head) is not None


def root(path: Path) -> Path:
    """The database or the ``mlruns`` folder."""
    with path.open("rb") as stream:
        head = stream.read(64)
    return root_of(path, head) or path


def read(document: Document) -> Iterator[Record]:
    """Runs, iterations and samples of the store. Raises Unreadable."""
    with opened(document.path) as store:
        yield from records(store)
