"""Reads what agents leave behind: bytes in, typed records out; no database, no network, no environment.

:func:`detect` says by its content which format a file has, ``READERS`` how to read it. A reader takes a binary
stream that stands at ``offset`` and yields chunks of records, each with the place and the state from which a later
reading goes on (see :class:`~pipelines.sources.records.Chunk`).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO, Protocol

from pipelines.sources import claude_code, codex, stream_json
from pipelines.sources.detect import DETECTION_BYTES, detect
from pipelines.sources.records import Chunk

__all__ = ["DETECTION_BYTES", "READERS", "Reader", "detect"]


class Reader(Protocol):
    """Reads one format."""

    def __call__(
        self,
        stream: BinaryIO,
        *,
        offset: int,
        lines: int,
        state: dict[str, Any],
        fallback_time: datetime,
        chunk_bytes: int = ...,
    ) -> Iterator[Chunk]:
        """Chunks of the decompressed ``stream``; ``fallback_time`` dates what has no clock: the file's own time."""
        ...


READERS: Mapping[str, Reader] = {
    "claude_code": claude_code.read,
    "codex": codex.read,
    "stream_json": stream_json.read,
}
