"""Optimization runs as JSON or JSON lines: what a program of one's own, or an API, tells of runs.

The format is docs/formats/runs-json.md. A document holds runs with what belongs to them, nested or beside each other,
in camelCase or snake_case; a file of lines holds one of them a line and is read in bounded memory, twice: a run may
be told in several lines, of which later ones complete it, and its iterations may stand before it.
"""

import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import zstandard

from pipelines.sources.documents import Document
from pipelines.sources.json_documents import decode_leniently
from pipelines.sources.lines import MAX_LINE_BYTES, read_objects
from pipelines.sources.outputs import Place, Record, Unreadable
from pipelines.sources.records import BadLine

from .dialects import Part, looks_like_run_data, parts_of
from .rows import BadPart, Runs, iteration_of, sample_of

__all__ = ["matches", "read"]

MAX_DOCUMENT_BYTES = 512 << 20
_LINES_TO_LOOK_AT = 20
_SAMPLE_BYTES = 256
_NO_RECORD = "it is no run, iteration or sample; docs/formats/runs-json.md says what they hold"
_BROKEN = (EOFError, OSError, zlib.error, zstandard.ZstdError)
"""What a damaged compressed stream raises."""
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A document cut by the end of the head: only the names of fields can be seen.
_NAMES = (re.compile(rb'"optimizer_?[tT]ype"\s*:'), re.compile(rb'"(run_?[nN]ame|run_?[iI]d)"\s*:'))

_decode = msgspec.json.Decoder().decode


def matches(path: Path, head: bytes) -> bool:
    """Whether the file holds runs, iterations or samples."""
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] not in (b"{", b"["):
        return False
    if head[:1] == b"{" and not _is_one_document(head):
        lines = head.split(b"\n", _LINES_TO_LOOK_AT)[:_LINES_TO_LOOK_AT]
        if len(lines) > 1:
            return any(map(_looks, lines))
    return _looks(head) or (_decoded(head) is None and all(name.search(head) for name in _NAMES))


def read(document: Document) -> Iterator[Record]:
    """Runs first, then iterations and samples as they come. Raises Unreadable."""
    with _opened(document.path) as stream:
        start = _up_to(MAX_LINE_BYTES, stream)
        if _is_one_document(start.removeprefix(b"\xef\xbb\xbf").lstrip()):
            content = start + _up_to(MAX_DOCUMENT_BYTES - len(start) + 1, stream)
            # A first line that is too long for an object may still have others behind it.
            if len(start.split(b"\n", 1)[0]) < MAX_LINE_BYTES or b"\n" not in content.rstrip():
                yield from _records(lambda: _of_document(content))
                return
    yield from _records(lambda: _of_lines(document.path))


def _records(parts: Callable[[], Iterator[Part | BadLine]]) -> Iterator[Record]:
    """The records of what ``parts`` gives each time it is called."""
    runs = Runs()
    for part in parts():
        if isinstance(part, Part) and part.kind == "run":
            runs.add(part)
    for found in runs.finished():
        yield _bad(found) if isinstance(found, BadPart) else found
    for part in parts():
        if isinstance(part, BadLine):
            yield part
        elif part.kind == "unknown":
            yield _bad(BadPart(part, "not_a_record", _NO_RECORD))
        elif part.kind != "run":
            yield _converted(part, runs)


def _converted(part: Part, runs: Runs) -> Record:
    try:
        return iteration_of(part, runs) if part.kind == "iteration" else sample_of(part, runs)
    except BadPart as bad:
        return _bad(bad)


def _bad(bad: BadPart) -> BadLine:
    part = bad.part
    content = msgspec.json.encode(part.given) if part.given is not None else b""
    return BadLine(part.line, part.offset, len(content), bad.reason, f"{part.where}: {bad}.", content[:_SAMPLE_BYTES])


def _of_document(content: bytes) -> Iterator[Part]:
    if len(content) > MAX_DOCUMENT_BYTES:
        raise Unreadable(
            f"it has more than {MAX_DOCUMENT_BYTES >> 20} MB of JSON in one piece; write one record a line."
        )
    try:
        value = decode_leniently(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"it is not whole JSON ({error}); write it again.") from error
    yield from parts_of(value, "The document", Place())


def _of_lines(path: Path) -> Iterator[Part | BadLine]:
    try:
        with _opened(path) as stream:
            for item in read_objects(stream, _decode, decode_leniently, offset=0, lines=0):
                if isinstance(item.value, BadLine):
                    yield item.value
                elif item.value is not None:
                    yield from parts_of(item.value, f"Line {item.number}", Place(line=item.number, offset=item.offset))
    except _BROKEN as error:
        raise Unreadable(f"it cannot be decompressed ({error}); is it complete?") from error


def _is_one_document(start: bytes) -> bool:
    """Whether it begins like a list, like a document printed over several lines or in one too long for an object."""
    first = start.split(b"\n", 1)[0]
    is_printed = not first.rstrip().endswith(b"}") and b"\n" in start
    return start[:1] == b"[" or (start[:1] == b"{" and (is_printed or len(first) >= MAX_LINE_BYTES))


def _looks(content: bytes) -> bool:
    value = _decoded(content)
    return value is not None and looks_like_run_data(value)


def _decoded(content: bytes) -> Any:
    try:
        return decode_leniently(content)
    except (ValueError, RecursionError):
        return None


def _opened(path: Path) -> BinaryIO:
    try:
        stream = path.open("rb")
        magic = stream.read(4)
        stream.seek(0)
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}; check that it exists and may be read.") from error
    if magic.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if magic == _ZSTD_MAGIC:
        return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
    return stream


def _up_to(size: int, stream: BinaryIO) -> bytes:
    """``size`` bytes or all there are: decompressing streams give fewer at a time."""
    parts: list[bytes] = []
    try:
        while size > 0 and (part := stream.read(size)):
            parts.append(part)
            size -= len(part)
    except _BROKEN as error:
        raise Unreadable(f"it cannot be decompressed ({error}); is it complete?") from error
    return b"".join(parts)
