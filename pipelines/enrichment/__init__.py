"""What raw rows do not say by themselves: which texts are alike, and what a change of a configuration did."""

from pipelines.enrichment.changes import Change, UnknownConfiguration, read_change
from pipelines.enrichment.coverage import Coverage, read_coverage
from pipelines.enrichment.embedders import Embedder, EmbedderError, choose
from pipelines.enrichment.embeddings import EmbeddingReport, embed_missing
from pipelines.enrichment.similarity import (
    KINDS,
    Alike,
    Kind,
    Neighbour,
    find_alike,
    nearest,
    similar_failures,
    vector_of,
)

__all__ = [
    "KINDS",
    "Alike",
    "Change",
    "Coverage",
    "Embedder",
    "EmbedderError",
    "EmbeddingReport",
    "Kind",
    "Neighbour",
    "UnknownConfiguration",
    "choose",
    "embed_missing",
    "find_alike",
    "nearest",
    "read_change",
    "read_coverage",
    "similar_failures",
    "vector_of",
]
