"""Content blocks of messages: what was written, which tools were called, what they answered."""

import contextlib
from datetime import datetime
from typing import Any

import msgspec

from pipelines.sources.records import ToolCall, ToolStatus

ERROR_CHARACTERS = 100_000
"""Longest error text handed on: far more than is stored, so that the end which is stored is not made here."""

_REJECTIONS = (
    "The user doesn't want to proceed",
    "The user doesn't want to take this action",
    "Claude requested permissions to",
    "This command requires approval",
    "This Bash command contains multiple operations. The following part",
)


class Block(msgspec.Struct, gc=False):
    """One content block; which fields it has depends on its type."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    tool_use_id: str | None = None
    is_error: bool | None = None
    content: msgspec.Raw = msgspec.Raw()


_decode_content = msgspec.json.Decoder(list[Block] | str).decode
_decode_anything = msgspec.json.Decoder().decode


def blocks_of(content: msgspec.Raw) -> list[Block]:
    """Blocks of a message's content; a bare string is one text block, what is no block is left out."""
    try:
        understood = _decode_content(content)
    except msgspec.ValidationError:
        return _usable_blocks(content)
    except msgspec.DecodeError:
        if memoryview(content):
            raise
        return []
    return [Block(type="text", text=understood)] if isinstance(understood, str) else understood


def _usable_blocks(content: msgspec.Raw) -> list[Block]:
    if bytes(memoryview(content)[:1]) != b"[":
        return []
    blocks = []
    for item in _decode_anything(content):
        with contextlib.suppress(msgspec.ValidationError):
            blocks.append(msgspec.convert(_with_raw_fields(item), Block) if isinstance(item, dict) else _text(item))
    return blocks


def _text(item: Any) -> Block:
    return Block(type="text", text=msgspec.convert(item, str))


def _with_raw_fields(item: dict[str, Any]) -> dict[str, Any]:
    raw = {name: msgspec.Raw(msgspec.json.encode(item[name])) for name in ("input", "content") if name in item}
    return item | raw


def plain_text(content: msgspec.Raw) -> str:
    """Text of a content that is a string or a list of blocks."""
    return "\n".join(block.text for block in blocks_of(content) if block.text)


def describe(blocks: list[Block], output: dict[str, Any]) -> int:
    """Add the shape of ``blocks`` to ``output``; returns the characters written, tool input included."""
    characters = 0
    for block in blocks:
        if block.type == "text":
            written = len(block.text or "")
            output["text_blocks"] = output.get("text_blocks", 0) + 1
            output["text_characters"] = output.get("text_characters", 0) + written
        elif block.type == "tool_use":
            written = len(memoryview(block.input))
            output["tool_use_blocks"] = output.get("tool_use_blocks", 0) + 1
        elif block.type in ("thinking", "redacted_thinking"):
            written = len(block.thinking or "")
            output["thinking_blocks"] = output.get("thinking_blocks", 0) + 1
        else:
            written = 0
        characters += written
    return characters


def settle(call: ToolCall, result: Block, *, at: datetime | None = None, duration_ms: int | None = None) -> None:
    """Close ``call`` with its ``result``: status, error text and, by the clocks where there are any, duration."""
    error = plain_text(result.content) if result.is_error else ""
    if call.timestamp is not None and at is not None:
        duration_ms = round((at - call.timestamp).total_seconds() * 1000)
    if duration_ms is not None:
        call.duration_ms = max(0, duration_ms)
    call.status = status_of_error(error) if result.is_error else "ok"
    call.error_message = error[:ERROR_CHARACTERS] or None


def status_of_error(text: str) -> ToolStatus:
    """``rejected`` where permission was refused or never given, else ``error``."""
    return "rejected" if text.startswith(_REJECTIONS) else "error"
