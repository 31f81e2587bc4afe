"""Output of ``claude -p``: ``--output-format stream-json`` (a line a message) and ``json`` (one document).

A run is one execution. A stream may hold several runs, one after the other; a chunk ends where a run starts, and the
last run stays open, for lines may still follow its result.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from pipelines.sources.draft import Draft
from pipelines.sources.lines import (
    BLOCK_BYTES,
    Item,
    UnusableLine,
    bad_line,
    read_objects,
)
from pipelines.sources.records import Chunk

from .run import Run
from .schema import Line, decode, decode_leniently

MAX_DOCUMENT_BYTES = 64 << 20

_STARTS_DOCUMENT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[|\{\s*\n)")


class Memory(msgspec.Struct):
    """What is known where a run starts."""

    runs: int = 0
    cwd: str | None = None


def read(
    stream: BinaryIO,
    *,
    offset: int,
    lines: int,
    state: dict[str, Any],
    fallback_time: datetime,
    chunk_bytes: int = 8 << 20,
) -> Iterator[Chunk]:
    """Chunks of the runs in ``stream``, which stands at ``offset`` with ``lines`` lines before it.

    ``state`` is that of the chunk after which to go on, empty at the start of a file. ``fallback_time`` (the
    file's own) is when a run without any clock ended.
    """
    head = _up_to(BLOCK_BYTES, stream)
    if offset == 0 and _STARTS_DOCUMENT.match(head):
        yield _read_document(head + _up_to(MAX_DOCUMENT_BYTES, stream), fallback_time)
        return
    memory = msgspec.convert(state, Memory)
    run = Run(offset, lines, memory.runs + 1)
    draft = Draft()
    chunk_start = offset
    for item in read_objects(stream, decode, decode_leniently, offset=offset, lines=lines, head=head):
        if type(item.value) is not Line:
            draft.set_aside(item.value)
            continue
        if run.result is not None and _starts_run(item.value):
            _add(draft, run, fallback_time)
            draft.unknown += run.unknown
            memory = Memory(run.sequence, run.cwd or memory.cwd)
            run = Run(item.offset, item.number - 1, run.sequence + 1)
            if item.offset - chunk_start >= chunk_bytes:
                yield _chunk(draft, run, memory, Counter())
                draft, chunk_start = Draft(), item.offset
        try:
            run.add(item)
        except (UnusableLine, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            draft.unusable(item, error)
            continue
        draft.good_lines += 1
    _add(draft, run, fallback_time)
    yield _chunk(draft, run, memory, run.unknown)


def _up_to(size: int, stream: BinaryIO) -> bytes:
    """``size`` bytes or all there are: decompressing streams give fewer at a time."""
    parts: list[bytes] = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _starts_run(line: Line) -> bool:
    """True for a line that cannot belong to a run which has given its result."""
    if line.type == "system":
        return line.subtype in ("init", "hook_started")
    return line.type in ("assistant", "user", "result")


def _add(draft: Draft, run: Run, fallback_time: datetime) -> None:
    if run.session_id is None or run.name is None:
        return
    execution = run.execution(fallback_time)
    requests = [response.finished(is_final=False) for response in run.responses.values()]
    draft.add(execution, requests, run.tools.values())


def _chunk(draft: Draft, run: Run, memory: Memory, open_unknown: Counter[str]) -> Chunk:
    return draft.chunk(
        offset=run.offset,
        lines=run.lines,
        state=msgspec.to_builtins(memory),
        cwd=memory.cwd or run.cwd,
        open_unknown=open_unknown,
    )


def _read_document(document: bytes, fallback_time: datetime) -> Chunk:
    """The one chunk of a file that holds one result object, or an array of messages, printed in any layout."""
    draft, run = Draft(), Run(0, 0)
    try:
        messages = _messages(document)
        for raw in messages:
            run.add(Item(0, 1, raw, decode_leniently(raw)))
    except (ValueError, RecursionError) as error:
        draft.set_aside(bad_line(document, error, 1, 0))
        return _chunk(draft, Run(0, 0), Memory(), Counter())
    for line in document.split(b"\n"):
        if line.strip():
            draft.good_lines += 1
    _add(draft, run, fallback_time)
    return _chunk(draft, run, Memory(), run.unknown)


def _messages(document: bytes) -> list[bytes]:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise UnusableLine("line_too_long", f"Documents of up to {MAX_DOCUMENT_BYTES} bytes are read.")
    document = document.removeprefix(b"\xef\xbb\xbf")
    if document.lstrip().startswith(b"["):
        return [bytes(memoryview(raw)) for raw in msgspec.json.decode(document, type=list[msgspec.Raw])]
    return [document]
