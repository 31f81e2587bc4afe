"""How a tool use ended, from what the client told the model and from the client's own events.

An output is text for the model: a header with exit code and wall time, then ``Output:``; or JSON with ``metadata``;
or the words of a refusal. The events ``exec_command_end``, ``patch_apply_end`` and ``mcp_tool_call_end`` say it
exactly, where a client writes them.
"""

import contextlib
import re
from typing import Any

import msgspec

from pipelines.sources.content import ERROR_CHARACTERS
from pipelines.sources.records import ToolCall, ToolStatus

from .schema import Duration, Event

_HEADER_CHARACTERS = 1000
_EXIT_CODE = re.compile(r"^(?:Process exited with code|Exit code:?) (-?\d{1,10})\s*$", re.MULTILINE)
_WALL_TIME = re.compile(r"^Wall time: (\d{1,9}(?:\.\d+)?) seconds\s*$", re.MULTILINE)
_REFUSED = re.compile(
    r"\s*(?:aborted|rejected|user (?:cancelled|rejected)"
    r"|(?:exec|exec_command|command|patch|apply_patch)\b.{0,60}\brejected)",
    re.IGNORECASE,
)
_FAILED = re.compile(
    r"\s*(?:(?:exec_command|write_stdin|apply_patch verification) failed|execution error|tool call error|failed to "
    r"|unsupported |error:)",
    re.IGNORECASE,
)
_REFUSALS = frozenset({"declined", "rejected", "denied"})

_decode_anything = msgspec.json.Decoder().decode
_decode_duration = msgspec.json.Decoder(Duration).decode


class Outcome(msgspec.Struct, frozen=True):
    """How a tool use ended."""

    status: ToolStatus
    error: str = ""
    duration_ms: int | None = None
    """None where nothing says it."""

    def settle(self, call: ToolCall) -> None:
        """Write the outcome into ``call``."""
        call.status = self.status
        call.error_message = self.error[:ERROR_CHARACTERS] or None if self.status != "ok" else None
        if self.duration_ms is not None:
            call.duration_ms = self.duration_ms


def of_output(raw: msgspec.Raw) -> Outcome:
    """Outcome that the ``output`` of a ``function_call_output`` or ``custom_tool_call_output`` tells."""
    value = _decoded(raw)
    success = value.get("success") if isinstance(value, dict) else None
    text = _text(value)
    if success is not None:
        return Outcome("ok") if success else Outcome("rejected" if _REFUSED.match(text) else "error", text)
    document = _document(text)
    if document is not None:
        return document
    header, separator, body = text[:_HEADER_CHARACTERS].partition("\nOutput:")
    body = text[len(header) + len(separator) :].strip() if separator else ""
    wall_time = _WALL_TIME.search(header)
    duration_ms = round(float(wall_time.group(1)) * 1000) if wall_time else None
    exit_code = _EXIT_CODE.search(header)
    if exit_code is not None:
        return _of_exit_code(int(exit_code.group(1)), body, duration_ms)
    if _REFUSED.match(text):
        return Outcome("rejected", text, duration_ms)
    return Outcome("error", text, duration_ms) if _FAILED.match(text) else Outcome("ok", duration_ms=duration_ms)


def of_event(kind: str, event: Event) -> Outcome | None:
    """Outcome that the client's own event tells; None where it tells nothing."""
    duration_ms = _duration(event.duration)
    error = event.stderr or event.aggregated_output or ""
    if event.status in _REFUSALS:
        return Outcome("rejected", error or f"The person {event.status} it.", duration_ms)
    if kind == "exec_command_end" and event.exit_code is not None:
        return _of_exit_code(event.exit_code, error, duration_ms)
    if kind == "patch_apply_end" and event.success is not None:
        return Outcome("ok" if event.success else "error", error, duration_ms)
    if kind == "mcp_tool_call_end" and memoryview(event.result):
        return _of_mcp_result(_decode_anything(event.result), duration_ms)
    return None


def agent_in(raw: msgspec.Raw) -> str | None:
    """``agent_id`` of the subagent that a tool started, as its output names it."""
    text = text_of(raw)
    if not text.startswith("{"):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        value = _decode_anything(text)
        if isinstance(value, dict) and isinstance(value.get("agent_id"), str):
            return str(value["agent_id"])
    return None


def text_of(raw: msgspec.Raw) -> str:
    """Text of an output or of a message's content."""
    return _text(_decoded(raw))


def _decoded(raw: msgspec.Raw) -> Any:
    return _decode_anything(raw) if memoryview(raw) else ""


def _of_exit_code(code: int, text: str, duration_ms: int | None) -> Outcome:
    if code == 0:
        return Outcome("ok", duration_ms=duration_ms)
    return Outcome("error", f"Exit code {code}\n{text}".strip(), duration_ms)


def _document(text: str) -> Outcome | None:
    """The older form: ``{"output": …, "metadata": {"exit_code": …, "duration_seconds": …}}``."""
    if not text.startswith("{"):
        return None
    try:
        value = _decode_anything(text)
    except (ValueError, RecursionError):
        return None
    metadata = value.get("metadata") if isinstance(value, dict) else None
    if not isinstance(metadata, dict) or not isinstance(code := metadata.get("exit_code"), int):
        return None
    seconds = metadata.get("duration_seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        seconds = None
    return _of_exit_code(code, _text(value.get("output")), None if seconds is None else round(seconds * 1000))


def _of_mcp_result(result: Any, duration_ms: int | None) -> Outcome | None:
    if not isinstance(result, dict):
        return None
    if "Err" in result:
        text = str(result["Err"])
        return Outcome("rejected" if _REFUSED.match(text) else "error", text, duration_ms)
    answer = result.get("Ok")
    failed = isinstance(answer, dict) and (answer.get("isError") is True or answer.get("is_error") is True)
    return Outcome("error", _text(answer), duration_ms) if failed else Outcome("ok", duration_ms=duration_ms)


def _text(value: Any) -> str:
    """Text of an output: a string, a list of content items, or an object that holds either."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(item["text"] for item in value if isinstance(item, dict) and isinstance(item.get("text"), str))
    if isinstance(value, dict):
        return _text(value.get("content"))
    return ""


def _duration(raw: msgspec.Raw) -> int | None:
    view = memoryview(raw)
    if not view or view[0] != 0x7B:
        return None
    try:
        return _decode_duration(raw).milliseconds
    except msgspec.ValidationError:
        return None
