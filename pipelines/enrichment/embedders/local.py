"""A model of sentence-transformers, run on this machine."""

from collections.abc import Sequence

import numpy as np

from pipelines.enrichment.embedders.base import EmbedderError, Vectors, unit_vectors


class LocalEmbedder:
    """Vectors of a sentence-transformers model, by its name or folder."""

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found]
        except ImportError:
            raise EmbedderError(
                "The package sentence-transformers is not installed: run `pip install sentence-transformers`, or unset "
                "TRACEMILL_EMBEDDER to use the built-in embedder."
            ) from None
        self.model = model
        try:
            self._encoder = SentenceTransformer(model)
        except (OSError, ValueError) as error:
            raise EmbedderError(
                f"sentence-transformers cannot load the model {model!r}: correct TRACEMILL_EMBEDDING_MODEL "
                f"({str(error).splitlines()[0][:200]})."
            ) from None

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 a text. Raises EmbedderError for a model that gives none."""
        found = self._encoder.encode(list(texts), batch_size=32, show_progress_bar=False, convert_to_numpy=True)
        return unit_vectors(np.asarray(found, dtype=np.float32), self.model)
