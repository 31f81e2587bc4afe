"""The built-in embedder: hashed n-grams, the same in every process and on every machine, without a download.

It knows no synonyms. It knows when two texts share words and parts of words, in what order, whatever their numbers
and ids, which is how one error resembles another.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import HashingVectorizer  # type: ignore[import-untyped]
from sklearn.preprocessing import normalize  # type: ignore[import-untyped]

from pipelines.enrichment.embedders.base import Vectors

_DIMENSIONS: Final = 1536
_FINE: Final = _DIMENSIONS * 683
"""Counts are taken in so many buckets that features hardly meet, damped there, and only then folded."""
_VALUES: Final = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4,}){1,4}|0x[0-9a-f]+|\d+(?:[.,:]\d+)*")
_WORDS: Final = {"token_pattern": r"[^\W_]+"}
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


class HashingEmbedder:
    """Words, pairs of words and parts of words, each with a hashed place and sign."""

    model: Final = "tracemill-hashing-1"
    """The number is raised whenever the vectors change."""

    def __init__(self) -> None:
        self._parts = (
            (1.0, _vectorizer(analyzer="word", ngram_range=(1, 2), **_WORDS)),
            (0.5, _vectorizer(analyzer="char_wb", ngram_range=(3, 5))),
        )

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 a text; zero for a text of white space only."""
        total = sum(weight * _folded(part.transform(texts)) for weight, part in self._parts)
        vectors: Vectors = normalize(total).toarray().astype(np.float32)
        return vectors


def _vectorizer(**options: object) -> HashingVectorizer:
    return HashingVectorizer(
        n_features=_FINE, alternate_sign=True, norm=None, lowercase=False, preprocessor=_prepared, **options
    )


def _prepared(text: str) -> str:
    """Lower case, words of camelCase apart, every number and id alike."""
    return _VALUES.sub("0", _HUMP.sub(" ", text).lower())


def _folded(counts: csr_matrix) -> csr_matrix:
    """Frequent features count less than their number, then all find their place among the dimensions; unit length."""
    damped = np.sign(counts.data) * np.sqrt(np.abs(counts.data))
    folded = csr_matrix((damped, counts.indices % _DIMENSIONS, counts.indptr), (counts.shape[0], _DIMENSIONS))
    folded.sum_duplicates()
    return normalize(folded)
