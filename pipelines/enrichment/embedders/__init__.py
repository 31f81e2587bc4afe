"""Embedders: texts into vectors, by the means that the settings name.

Each lives in a module of its own, imported when it is chosen, since what they rest on takes long to import or may not
be installed.
"""

from pipelines.enrichment.embedders.base import Embedder, EmbedderError, Vectors
from pipelines.settings import EmbedderSettings

__all__ = ["Embedder", "EmbedderError", "Vectors", "choose"]


def choose(settings: EmbedderSettings) -> Embedder:
    """The embedder of the settings. Raises EmbedderError where it cannot be used."""
    if settings.kind == "openai":
        from pipelines.enrichment.embedders.remote import RemoteEmbedder

        return RemoteEmbedder(settings.url or "", settings.model or "", settings.api_key)
    if settings.kind == "sentence-transformers":
        from pipelines.enrichment.embedders.local import LocalEmbedder

        return LocalEmbedder(settings.model or "")
    from pipelines.enrichment.embedders.hashing import HashingEmbedder

    return HashingEmbedder()
