"""What every embedder offers."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""One row a text."""


class EmbedderError(Exception):
    """Texts could not be turned into vectors; the message says why and what to do."""


class Embedder(Protocol):
    """Turns texts into vectors that are near where the texts are alike."""

    @property
    def model(self) -> str:
        """Name under which the vectors are stored; only vectors of one model compare."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, in their order, of length 1 and all of the same dimensions. Raises EmbedderError."""


def unit_vectors(vectors: Vectors, model: str) -> Vectors:
    """The vectors at length 1. Raises EmbedderError for those without a direction."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise EmbedderError(
            f"The model {model!r} gave a vector of zeros or of what are not numbers: set TRACEMILL_EMBEDDING_MODEL to "
            "one that embeds texts."
        )
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit
