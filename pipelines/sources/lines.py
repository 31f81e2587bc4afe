"""Cuts a log into lines and lines into objects, in bounded memory, losing and inventing nothing.

Protocol: :func:`read_blocks` reads a binary stream in blocks and splits them at ``\\n`` only. :func:`read_objects`
decodes each line and gives one item a line: the object, ``None`` for a blank line, or a :class:`BadLine` that says
what is wrong. A last line without its newline counts when it is a whole JSON object; otherwise the writer may still
be at it, so it waits and nothing is said about it. A line above ``MAX_LINE_BYTES`` is drained, not kept.

Bytes that no field of ours needs are checked for JSON syntax only: a broken byte in a tool's output costs nobody the
tokens written beside it.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import msgspec

from pipelines.sources.records import BadLine

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 16 << 20
SAMPLE_BYTES = 256

Reason = Literal[
    "malformed_json", "trailing_data", "not_an_object", "unexpected_shape", "bad_timestamp", "invalid_utf8",
    "nul_byte", "lone_surrogate", "too_deep", "line_too_long",
]  # fmt: skip

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"
_NUL_ESCAPE = b"\\u0000"
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
    """Whole lines that follow each other, without their newlines."""

    offset: int
    number: int
    lines: list[bytes]
    has_nul_escapes: bool = False
    too_long: int = 0
    """Length of the one line of this block when it was too long to keep: ``lines`` then holds its beginning."""
    is_torn: bool = False
    """The one line of this block is the last of the stream and has no newline."""


class Item(NamedTuple):
    """One line of the file; ``value`` is None for a blank line."""

    offset: int
    number: int
    line: bytes
    value: Any
    had_nul: bool = False


def read_blocks(stream: BinaryIO, *, offset: int, lines: int, head: bytes = b"") -> Iterator[Block]:
    """Blocks of whole lines from ``stream``, which stands at ``offset`` with ``lines`` lines before it.

    ``head`` holds bytes that were already taken from the stream.
    """
    number = lines + 1
    held: list[bytes] = []
    held_bytes = 0
    data = head or stream.read(BLOCK_BYTES)
    while data:
        first = data.find(b"\n")
        if first < 0:
            held_bytes += len(data)
            if held_bytes <= MAX_LINE_BYTES or not held:
                held.append(data)
            elif len(held) > 1:
                held = [b"".join(held)[:SAMPLE_BYTES]]
            data = stream.read(BLOCK_BYTES)
            continue
        if held_bytes + first > MAX_LINE_BYTES:
            length = held_bytes + first
            yield Block(offset, number, [(b"".join(held) + data[:SAMPLE_BYTES])[:SAMPLE_BYTES]], too_long=length)
            offset, number, data = offset + length + 1, number + 1, data[first + 1 :]
            held, held_bytes = [], 0
            data = data or stream.read(BLOCK_BYTES)
            continue
        last = data.rfind(b"\n")
        text = b"".join([*held, data[:last]])
        whole = text.split(b"\n")
        yield Block(offset, number, whole, has_nul_escapes=_NUL_ESCAPE in text)
        offset, number = offset + len(text) + 1, number + len(whole)
        held = [data[last + 1 :]] if last + 1 < len(data) else []
        held_bytes = len(data) - last - 1
        data = stream.read(BLOCK_BYTES)
    if held and held_bytes <= MAX_LINE_BYTES:
        text = b"".join(held)
        yield Block(offset, number, [text], has_nul_escapes=_NUL_ESCAPE in text, is_torn=True)


def read_objects(blocks: Iterator[Block], decode: Callable[[bytes], T]) -> Iterator[Item]:
    """One item a line. ``decode`` may raise UnusableLine, or what msgspec raises."""
    for block in blocks:
        offset, number = block.offset, block.number
        if block.too_long:
            detail = f"The line has {block.too_long} bytes; lines of up to {MAX_LINE_BYTES} bytes are read."
            bad = BadLine(number, offset, block.too_long, "line_too_long", detail, block.lines[0])
            yield Item(offset, number, block.lines[0], bad)
            continue
        for line in block.lines:
            had_nul = False
            try:
                if block.has_nul_escapes and _NUL_ESCAPE in line:
                    had_nul = True
                    value: Any = decode(_without_nul_characters(line))
                else:
                    value = decode(line)
            except (ValueError, RecursionError) as error:
                if block.is_torn:
                    return
                value = _second_look(line, error, decode, number, offset)
            yield Item(offset, number, line, value, had_nul)
            offset += len(line) + 1
            number += 1


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


def bad_line(line: bytes, error: Exception, number: int, offset: int) -> BadLine:
    """``line`` with the reason for which it cannot be used."""
    reason, detail = _diagnose(line, error)
    return BadLine(number, offset, len(line), reason, detail, line[:SAMPLE_BYTES])


def _second_look(line: bytes, error: Exception, decode: Callable[[bytes], T], number: int, offset: int) -> Any:
    """What is no JSON at first sight: a blank line, one behind a byte order mark, or a bad one."""
    if not line.strip():
        return None
    if line.startswith(_BOM):
        try:
            return decode(line[len(_BOM) :]) if line[len(_BOM) :].strip() else None
        except (ValueError, RecursionError) as behind_mark:
            error = behind_mark
    return bad_line(line, error, number, offset)


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


def _without_nul_characters(line: bytes) -> bytes:
    """``line`` with each NUL character of its texts, which PostgreSQL cannot store, replaced by U+FFFD."""
    return msgspec.json.encode(_replaced(msgspec.json.decode(line, type=dict[str, Any])))


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_replaced(item) for item in value]
    if isinstance(value, dict):
        return {_replaced(key): _replaced(item) for key, item in value.items()}
    return value
