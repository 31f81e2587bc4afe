"""What a folder of transcripts holds, counted with nothing but the json module: shares no code with the readers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Response(NamedTuple):
    """Usage of one API response."""

    model: str
    input_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    output_tokens: int


def objects(folder: Path) -> Iterator[dict]:
    """Every JSON object in the folder's .jsonl files."""
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def responses(folder: Path) -> dict[tuple[str, str | None], Response]:
    """One entry per (message id, request id) of transcripts: the line with the largest output."""
    found: dict[tuple[str, str | None], Response] = {}
    for line in objects(folder):
        message = line.get("message")
        if line.get("type") != "assistant" or "sessionId" not in line or not isinstance(message, dict):
            continue
        usage = message.get("usage")
        if not usage or message.get("model") == "<synthetic>":
            continue
        key = (message["id"], line.get("requestId"))
        response = Response(
            message["model"],
            usage.get("input_tokens") or 0,
            usage.get("cache_creation_input_tokens") or 0,
            usage.get("cache_read_input_tokens") or 0,
            usage.get("output_tokens") or 0,
        )
        if key not in found or response.output_tokens > found[key].output_tokens:
            found[key] = response
    return found


def tool_uses(folder: Path) -> set[str]:
    """Ids of the tool uses in assistant lines of transcripts."""
    return {
        block["id"]
        for line in objects(folder)
        if line.get("type") == "assistant" and "sessionId" in line
        for block in (line.get("message") or {}).get("content") or []
        if isinstance(block, dict) and block.get("type") == "tool_use"
    }
