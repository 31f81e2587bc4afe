"""JSON documents that are read whole: opened within a limit, cut into their elements, recognised by their first bytes.

A document is decoded element by element, so one that cannot be understood costs nobody the others: it becomes a
:class:`BadLine` that says where in the document it stands.
"""

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec
import zstandard

from pipelines.sources.lines import SAMPLE_BYTES, UnusableLine, in_utc
from pipelines.sources.outputs import Unreadable
from pipelines.sources.records import BadLine

MAX_BYTES = 512 << 20
"""Decompressed size of the largest document that is read."""

BROKEN_STREAM = (OSError, EOFError, zlib.error, zstandard.ZstdError)
"""What reading a file raises that cannot be read, or decompressed, to its end."""

_BLOCK_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:)?|[][{}]')
_KEYS_DEPTH = 2
_NO_NUMBERS = (b"NaN", b"Infinity")
_decode = msgspec.json.Decoder().decode


class Element(NamedTuple):
    """One element of an array in a document, not decoded yet."""

    number: int
    """From 1."""
    line: int
    offset: int
    raw: bytes


def opened(path: Path) -> BinaryIO:
    """The file as a stream of decompressed bytes (gzip, zstandard, plain). Raises Unreadable."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise Unreadable(f"{error.strerror or error}; check that the file exists and may be read.") from error
    magic = raw.read(4)
    raw.seek(0)
    if magic.startswith(_GZIP_MAGIC):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if magic == _ZSTD_MAGIC:
        return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    return raw


def load(path: Path) -> bytes:
    """All bytes of the document, decompressed, at most MAX_BYTES. Raises Unreadable."""
    parts: list[bytes] = []
    size = 0
    with opened(path) as stream:
        try:
            while part := stream.read(_BLOCK_BYTES):
                size += len(part)
                if size > MAX_BYTES:
                    raise Unreadable(
                        f"The document has more than {MAX_BYTES >> 20} MB, which is too large to be read at once; "
                        "split it into several."
                    )
                parts.append(part)
        except BROKEN_STREAM as error:
            raise Unreadable(f"It cannot be read to its end ({error}); copy it again.") from error
    return b"".join(parts).removeprefix(_BOM)


def decode_leniently(content: bytes) -> Any:
    """The JSON; numbers that it does not have, though Python writes them (NaN), are None. Raises what msgspec does."""
    try:
        return _decode(content)
    except msgspec.DecodeError as error:
        if not any(word in content for word in _NO_NUMBERS):
            raise
        try:
            value = json.loads(content, parse_constant=lambda _: None, parse_float=_finite)
            msgspec.json.encode(value)
        except (ValueError, OverflowError):
            raise error from None
        return value


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def why_not(error: Exception) -> str:
    """The reason for which JSON was refused, as the first half of a sentence."""
    if isinstance(error, RecursionError):
        return "The JSON is nested too deeply"
    if "truncated" in str(error):
        return "The JSON ends in the middle"
    return f"The JSON cannot be read: {error}"


def elements(document: bytes, array: bytes | msgspec.Raw, *, before: int = 0) -> Iterator[Element]:
    """Elements of ``array``, a part of ``document`` that starts at or after ``before``. Raises Unreadable."""
    try:
        raws = msgspec.json.decode(array, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{why_not(error)}; write the file again or restore it.") from error
    position, line, counted = before, 1, 0
    for number, raw in enumerate(raws, 1):
        element = bytes(raw)
        offset = document.find(element, position)
        line += document.count(b"\n", counted, offset)
        counted, position = offset, offset + len(element)
        yield Element(number, line, offset, element)


def bad_element(element: Element, what: str, error: Exception, *, where: str = "") -> BadLine:
    """``what`` (such as "Result 3") that could not be understood."""
    reason = error.reason if isinstance(error, UnusableLine) else "unexpected_shape"
    detail = f"{what}{where} cannot be read: {str(error).rstrip('.')}. The others are loaded; mend it and ingest again."
    return BadLine(element.line, element.offset, len(element.raw), reason, detail, element.raw[:SAMPLE_BYTES])


def moment(text: str | None, what: str) -> datetime | None:
    """A time in ISO 8601, in UTC where it has no zone. Raises UnusableLine."""
    if not text:
        return None
    try:
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise UnusableLine("bad_timestamp", f"{what} is {text[:60]!r}, which is no time in ISO 8601") from None


@lru_cache(maxsize=2)
def leading_keys(head: bytes) -> frozenset[str]:
    """Keys of the document's object, or of the first object of its array, and ``key.key`` one level below.

    ``head`` may end anywhere: what stands behind its end is unknown. Nothing that is no such document has keys.
    """
    found: set[str] = set()
    if head.removeprefix(_BOM).lstrip()[:1] not in (b"{", b"["):
        return frozenset()
    key = ""
    stack: list[str | None] = []  # an object is the key under which it stands, an array is None
    for token in _TOKEN.finditer(head):
        mark = token.group()[:1]
        if mark == b"{":
            stack.append(key)
        elif mark == b"[":
            stack.append(None)
        elif mark != b'"':
            if not stack or (stack.pop() is not None and stack in ([], [None])):
                break
        elif token.group(2) is not None and stack:
            key = token.group(1).decode("utf-8", "replace")
            objects = stack[1:] if stack[0] is None else stack
            if 0 < len(objects) <= _KEYS_DEPTH and None not in objects:
                found.add(".".join(filter(None, [*objects[1:], key])))
    return frozenset(found)


def text_of(content: Any) -> str:
    """Text of a message's content: a string, or blocks of which those with text count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            block["text"] for block in content if isinstance(block, dict) and isinstance(block.get("text"), str)
        )
    return "" if content is None else msgspec.json.encode(content).decode()
