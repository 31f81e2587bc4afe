"""Cuts a log into lines and lines into objects, in bounded memory, losing and inventing nothing.

Protocol: :func:`read_lines` reads a binary stream in blocks, splits them at ``\\n`` only and decodes each line where it
stands: each gives the object, ``None`` for a blank line, or a :class:`BadLine` that says what is wrong;
:func:`read_objects` gives the same as one :class:`Item` a line, for readers that look at each of them.
A last line without its newline counts when it is a whole JSON object; otherwise the writer may still be at it, so it
waits and nothing is said about it. A line above ``MAX_LINE_BYTES`` is drained, not kept.

Bytes that no field of ours needs are checked for JSON syntax only: a broken byte in a tool's output costs nobody the
tokens written beside it.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import msgspec

from pipelines.sources.records import BadLine

BLOCK_BYTES = 128 << 10
"""Small enough for a processor's cache and for memory that need not be asked for again each time."""
MAX_LINE_BYTES = 16 << 20
SAMPLE_BYTES = 256

Reason = Literal[
    "malformed_json", "trailing_data", "not_an_object", "unexpected_shape", "bad_timestamp", "invalid_utf8",
    "nul_byte", "lone_surrogate", "too_deep", "line_too_long",
]  # fmt: skip

T = TypeVar("T")

BOM = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


class UnusableLine(ValueError):
    """A line that is JSON and yet cannot be used; raised by readers, turned into a BadLine here."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason


class Block(NamedTuple):
    """Whole lines that follow each other, each with its newline."""

    data: bytes
    too_long: int = 0
    """Length of the one line of this block when it was too long to keep: ``data`` then is its beginning."""
    is_torn: bool = False
    """The one line of this block is the last of the stream; its newline was added here."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """One line of the file; ``value`` is None for a blank line."""

    offset: int
    number: int
    line: bytes | memoryview
    value: Any


class Lines(NamedTuple):
    """Lines that follow each other, decoded; the same index in each list is the same line."""

    first_number: int
    offsets: list[int]
    lines: list[bytes] | list[memoryview]
    values: list[Any]

    def item(self, index: int) -> Item:
        """The line at ``index``, with its place in the file."""
        return Item(self.offsets[index], self.first_number + index, self.lines[index], self.values[index])


def read_objects(
    stream: BinaryIO,
    decode: Callable[[bytes | memoryview], T],
    decode_leniently: Callable[[bytes], T],
    *,
    offset: int,
    lines: int,
    head: bytes = b"",
) -> Iterator[Item]:
    """One item a line of ``stream``; see :func:`read_lines`."""
    for read in read_lines(stream, decode, decode_leniently, offset=offset, lines=lines, head=head):
        for index in range(len(read.values)):
            yield read.item(index)


def read_lines(
    stream: BinaryIO,
    decode: Callable[[bytes | memoryview], T],
    decode_leniently: Callable[[bytes], T],
    *,
    offset: int,
    lines: int,
    head: bytes = b"",
) -> Iterator[Lines]:
    """The lines of ``stream``, which stands at ``offset`` with ``lines`` lines before it, some hundreds at a time.

    ``decode_leniently`` is asked for a line whose fields do not have the types that ``decode`` wants; it raises in
    its turn where the line needs them. Both may raise what msgspec raises. ``head`` holds bytes that were already
    taken from the stream.
    """
    number = lines + 1
    for block in _read_blocks(stream, head):
        if block.too_long:
            detail = f"The line has {block.too_long} bytes; lines of up to {MAX_LINE_BYTES} bytes are read."
            bad = BadLine(number, offset, block.too_long, "line_too_long", detail, block.data)
            yield Lines(number, [offset], [block.data], [bad])
            offset += block.too_long + 1
            number += 1
            continue
        offsets, parts = _split(block.data, offset)
        try:
            values: list[Any] = list(map(decode, parts))
        except (ValueError, RecursionError):
            places = zip(parts, count(number), offsets, strict=False)
            values = [_decode_one(decode, decode_leniently, *place) for place in places]
            if block.is_torn and isinstance(values[0], BadLine):
                return
        yield Lines(number, offsets, parts, values)
        offset += len(block.data)
        number += len(parts)


def _split(data: bytes, offset: int) -> tuple[list[int], list[memoryview]]:
    """Where each line of ``data`` begins in the file, and the line without its newline; nothing is copied."""
    offsets: list[int] = []
    parts: list[memoryview] = []
    view, find, start = memoryview(data), data.find, 0
    while (end := find(b"\n", start)) >= 0:
        offsets.append(offset + start)
        parts.append(view[start:end])
        start = end + 1
    return offsets, parts


def _read_blocks(stream: BinaryIO, head: bytes) -> Iterator[Block]:
    held: list[bytes] = []
    held_bytes = 0
    data = head or stream.read(BLOCK_BYTES)
    while data:
        first, start = data.find(b"\n"), 0
        if first >= 0:
            if held_bytes + first > MAX_LINE_BYTES:
                yield Block(_sample(held, data[:first]), too_long=held_bytes + first)
                held, start = [], first + 1
            end = data.rfind(b"\n") + 1
            if end > start:
                yield Block(b"".join([*held, memoryview(data)[start:end]]))
            held, held_bytes, data = [], 0, data[end:]
        held_bytes += len(data)
        if held_bytes > MAX_LINE_BYTES:
            held = [_sample(held, data)]
        elif data:
            held.append(data)
        data = stream.read(BLOCK_BYTES)
    if held and held_bytes <= MAX_LINE_BYTES:
        yield Block(b"".join([*held, b"\n"]), is_torn=True)


def _sample(held: list[bytes], rest: bytes) -> bytes:
    return b"".join([*(part[:SAMPLE_BYTES] for part in held), rest[:SAMPLE_BYTES]])[:SAMPLE_BYTES]


def in_utc(moment: datetime) -> datetime:
    """``moment`` in UTC, which is also what a time without a zone means here."""
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise UnusableLine(
            "bad_timestamp", f"The timestamp {moment.isoformat()} lies outside of the calendar."
        ) from None


def bad_line(line: bytes | memoryview, error: Exception, number: int, offset: int) -> BadLine:
    """``line`` with the reason for which it cannot be used."""
    line = bytes(line)
    reason, detail = _diagnose(line, error)
    return BadLine(number, offset, len(line), reason, detail, line[:SAMPLE_BYTES])


def _decode_one(
    decode: Callable[[bytes | memoryview], T],
    decode_leniently: Callable[[bytes], T],
    part: memoryview,
    number: int,
    offset: int,
) -> T | BadLine | None:
    """The line, which may be a blank one, one behind a byte order mark, an odd one or a bad one."""
    try:
        return decode(part)
    except (ValueError, RecursionError):
        line = bytes(part)
    text = line.removeprefix(BOM)
    if not text.strip():
        return None
    try:
        return decode_leniently(text)
    except (ValueError, RecursionError) as still:
        return bad_line(line, still, number, offset)


def _diagnose(line: bytes, error: Exception) -> tuple[Reason, str]:
    if isinstance(error, UnusableLine):
        return error.reason, str(error)
    if isinstance(error, RecursionError):
        return "too_deep", "The JSON is nested too deeply to be read."
    if isinstance(error, UnicodeDecodeError):
        return "invalid_utf8", f"Byte {error.start} of a text is not UTF-8 ({error.reason})."
    message = str(error)
    if isinstance(error, msgspec.ValidationError):
        if message.startswith("Expected `object`") and " at `$" not in message:
            return "not_an_object", "The line is JSON but not an object."
        if "`$.timestamp`" in message:
            return "bad_timestamp", f"The timestamp cannot be read: {message}."
        return "unexpected_shape", f"A field does not hold what it should: {message}."
    if b"\0" in line:
        return "nul_byte", f"Byte {line.index(0)} of the line is NUL."
    try:
        line.decode()
    except UnicodeDecodeError as broken:
        return "invalid_utf8", f"Byte {broken.start} of the line is not UTF-8 ({broken.reason})."
    if "trailing characters" in message:
        return "trailing_data", f"More follows the object on the same line: {message}."
    if _LONE_SURROGATE.search(line):
        return "lone_surrogate", "A text holds half of a surrogate pair, which is no character."
    return "malformed_json", f"{message}."
