"""What DSPy leaves of optimizations: saved programs, folders of compiled runs, ``log_dir`` trees, evaluations.

DSPy itself writes programs, logs and evaluations; scores and trials live on the object that ``compile`` returns, and
are here in the files of docs/formats/dspy.md. One compile is one run, whichever of its files are there. Nothing in
these files names a run, so what was measured does: a copied folder is the same run, a repeated compile another one
unless it gave the same programs and scores. Pickles are never opened: reading one runs what it holds.
"""

from collections.abc import Iterator
from pathlib import Path

from pipelines.sources.documents import Document
from pipelines.sources.outputs import Record, Unreadable

from . import compiled, evaluation, layout

__all__ = ["matches", "read", "root"]

_PICKLE = (
    "it is a pickle, which is refused and never opened because reading one runs whatever it holds; save the program "
    'with program.save("program.json") and what the optimizer measured as JSON (docs/formats/dspy.md).'
)


def matches(path: Path, head: bytes) -> bool:
    """Whether the file is one that DSPy, or the export in docs/formats/dspy.md, has written."""
    return layout.kind_of(path, head) is not None


def root(path: Path) -> Path:
    """Folder of the run that the file belongs to; the file itself where it stands alone."""
    return layout.root_of(path)


def read(document: Document) -> Iterator[Record]:
    """The run of a folder, a lone program or an evaluation. Raises Unreadable."""
    if document.path.is_dir():
        return compiled.read_folder(document)
    kind = layout.kind_of(document.path, layout.head_of(document.path))
    match kind:
        case "program":
            return compiled.read_program(document)
        case "evaluation":
            return evaluation.read(document)
        case "pickle":
            raise Unreadable(_PICKLE)
        case _:
            raise Unreadable("it is none of the files that DSPy writes; docs/formats/dspy.md lists them.")
