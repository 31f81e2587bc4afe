"""The floor: read the bytes and decode every line into typed structs, and do nothing with them."""

import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec


class _CacheCreation(msgspec.Struct, gc=False):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: _CacheCreation | None = None


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    content: msgspec.Raw = msgspec.Raw(b"")
    usage: _Usage | None = None


class _Line(msgspec.Struct, gc=False):
    type: str = ""
    uuid: str | None = None
    sessionId: str | None = None
    requestId: str | None = None
    timestamp: str | None = None
    message: _Message | None = None


def decode_files(paths: Sequence[Path]) -> int:
    """Number of lines that are objects; others (torn lines, which the samples hold) are passed over."""
    decode = msgspec.json.Decoder(_Line).decode
    count = 0
    for path in paths:
        with path.open("rb") as file:
            for line in file:
                try:
                    decode(line)
                except msgspec.DecodeError:
                    continue
                count += 1
    return count


def seconds(paths: Sequence[Path], processes: int) -> float:
    """Time for all files in this process, or shared among several, whose start counts."""
    started = time.perf_counter()
    if processes == 1:
        decode_files(paths)
    else:
        shares: list[list[Path]] = [[] for _ in range(processes)]
        for path in sorted(paths, key=lambda path: path.stat().st_size, reverse=True):
            min(shares, key=len).append(path)
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            pool.map(decode_files, shares, chunksize=1)
    return time.perf_counter() - started
