"""Cuts a log into lines and lines into objects, in bounded memory, losing and inventing nothing.

Protocol: :func:`read_objects` reads a binary stream in blocks, splits them at ``\\n`` only, decodes each line where it
stands and gives one item a line: the object, ``None`` for a blank line, or a :class:`BadLine` that says what is wrong.
A last line without its newline counts when it is a whole JSON object; otherwise the writer may still be at it, so it
waits and nothing is said about it. A line above ``MAX_LINE_BYTES`` is drained, not kept.

Bytes that no field of ours needs are checked for JSON syntax only: a broken byte in a tool's output costs nobody the
tokens written beside it.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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

_BOM = b"\xef\xbb\xbf"
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


def read_objects(
    stream: BinaryIO,
    decode: Callable[[bytes | memoryview], T],
    decode_leniently: Callable[[bytes], T],
    *,
    offset: int,
    lines: int,
    head: bytes = b"",
) -> Iterator[Item]:
    """One item a line of ``stream``, which stands at ``offset`` with ``lines`` lines before it.

    ``decode_leniently`` is asked for a line whose fields do not have the types that ``decode`` wants; it raises in
    its turn where the line needs them. Both may raise what msgspec raises. ``head`` holds bytes that were already
    taken from the stream.
    """
    number = lines + 1
    for block in _read_blocks(stream, head):
        if block.too_long:
            detail = f"The line has {block.too_long} bytes; lines of up to {MAX_LINE_BYTES} bytes are read."
            bad = BadLine(number, offset, block.too_long, "line_too_long", detail, block.data)
            yield Item(offset, number, block.data, bad)
            offset += block.too_long + 1
            number += 1
            continue
        view, find, start = memoryview(block.data), block.data.find, 0
        while (end := find(b"\n", start)) >= 0:
            line = view[start:end]
            value: Any
            try:
                value = decode(line)
            except (ValueError, RecursionError):
                value = _second_look(bytes(line), decode_leniently, number, offset)
                if block.is_torn and isinstance(value, BadLine):
                    return
            yield Item(offset, number, line, value)
            offset += end + 1 - start
            number += 1
            start = end + 1


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


def _second_look(line: bytes, decode: Callable[[bytes], T], number: int, offset: int) -> T | BadLine | None:
    """What cannot be decoded at first sight: a blank line, one behind a byte order mark, an odd one, a bad one."""
    text = line.removeprefix(_BOM)
    if not text.strip():
        return None
    try:
        return decode(text)
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
