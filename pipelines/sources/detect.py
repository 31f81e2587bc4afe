"""Tells a format by the first bytes of a file, never by its name."""

import io
import re
from typing import Any

import msgspec

from pipelines.sources.claude_code.schema import PASSED_OVER

DETECTION_BYTES = 256 << 10
"""Decompressed bytes that detection looks at."""

_TRANSCRIPT_TYPES = PASSED_OVER | {"user", "assistant"}
_STREAM_TYPES = frozenset({"system", "assistant", "user", "result", "stream_event", "rate_limit_event"})
_ROLLOUT_TYPES = frozenset({"session_meta", "response_item", "event_msg", "turn_context", "compacted"})
_STARTS_DOCUMENT = re.compile(rb"\s*(?:\[|\{\s*\n)")
# A first line longer than the head, or a document cut by its end: only the names of fields can be seen.
_SESSION_KEY = re.compile(rb'"(sessionId|session_id)"\s*:\s*"')
_TYPE = re.compile(rb'"type"\s*:\s*"(user|assistant|system|result|progress|attachment)"')
_ROLLOUT = re.compile(rb'"type"\s*:\s*"(session_meta|response_item|turn_context)"\s*,\s*"payload"\s*:\s*\{')
_FORMATS = {b"sessionId": "claude_code", b"session_id": "stream_json"}

_decode = msgspec.json.Decoder().decode


def detect(head: bytes) -> str | None:
    """``claude_code``, ``codex``, ``stream_json`` (which includes ``--output-format json``), else None.

    ``head`` is the beginning of a file, decompressed: up to ``DETECTION_BYTES``.
    """
    head = head[:DETECTION_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _STARTS_DOCUMENT.match(head):
        return _of_document(head)
    for line in io.BytesIO(head):
        try:
            found = _of_object(_decode(line))
        except (ValueError, RecursionError):
            continue
        if found is not None:
            return found
    return _by_field_names(head) if b"\n" not in head else None


def _of_document(head: bytes) -> str | None:
    try:
        document = _decode(head)
    except (ValueError, RecursionError):
        return "stream_json" if _by_field_names(head) == "stream_json" else None
    messages = document if isinstance(document, list) else [document]
    return next((found for message in messages if (found := _of_object(message)) == "stream_json"), None)


def _of_object(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if isinstance(value.get("session_id"), str) and kind in _STREAM_TYPES:
        return "stream_json"
    if kind == "result" and "duration_ms" in value and "subtype" in value:
        return "stream_json"
    if isinstance(value.get("sessionId"), str) and (kind in _TRANSCRIPT_TYPES or _is_message(value)):
        return "claude_code"
    if kind in _ROLLOUT_TYPES and isinstance(value.get("payload"), dict) and isinstance(value.get("timestamp"), str):
        return "codex"
    if kind == "summary" and "leafUuid" in value:
        return "claude_code"
    if kind == "file-history-snapshot" and "messageId" in value:
        return "claude_code"
    return None


def _is_message(value: dict[str, Any]) -> bool:
    message = value.get("message")
    return "type" not in value and isinstance(message, dict) and message.get("role") in ("user", "assistant")


def _by_field_names(head: bytes) -> str | None:
    if _ROLLOUT.search(head):
        return "codex"
    session = _SESSION_KEY.search(head)
    return _FORMATS[session.group(1)] if session and _TYPE.search(head) else None
