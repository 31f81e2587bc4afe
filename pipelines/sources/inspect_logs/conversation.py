"""What happened in a sample: its messages as steps, and every tool call with what came of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.sources.outputs import ToolUse
from pipelines.sources.steps import bounded, cut

if TYPE_CHECKING:
    from inspect_ai.event import Event, ToolEvent
    from inspect_ai.model import ChatMessage, Content
    from inspect_ai.scorer import Score
    from inspect_ai.tool import ToolCallError


def text_of(content: "str | Sequence[Content]") -> str:
    """The text of a message; pictures, sounds and data are named, not kept."""
    if isinstance(content, str):
        return content
    parts: Sequence[Content] = content
    return "\n".join(
        getattr(part, "text", None) or getattr(part, "reasoning", None) or f"[{part.type}]" for part in parts
    )


def trajectory(messages: "Sequence[ChatMessage]", scores: "Mapping[str, Score] | None") -> dict[str, Any]:
    """The conversation as it stood at the end of the sample, and how it was judged."""
    judged = {
        name: {
            key: cut(value) if isinstance(value, str) else value
            for key in ("value", "answer", "explanation")
            if (value := getattr(score, key)) is not None
        }
        for name, score in (scores or {}).items()
    }
    return bounded([_step(message) for message in messages], scores=judged or None)


def tool_uses(messages: "Sequence[ChatMessage]", events: "Sequence[Event]") -> list[ToolUse]:
    """Tool calls in order: as the events tell with their times, else as calls and answers among the messages."""
    calls = [_of_event(event) for event in events if event.event == "tool"]
    return calls or _of_messages(messages)


def _step(message: "ChatMessage") -> dict[str, Any]:
    step: dict[str, Any] = {"role": message.role, "text": cut(text_of(message.content))}
    if message.role == "assistant" and message.tool_calls:
        step["tool_calls"] = [
            {"tool": call.function, "input": cut(msgspec.json.encode(call.arguments, enc_hook=str).decode())}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        step["tool"] = message.function
        if message.error is not None:
            step["error"] = cut(message.error.message)
    return step


def _of_event(event: "ToolEvent") -> ToolUse:
    duration = None
    if event.completed is not None:
        duration = max((event.completed - event.timestamp).total_seconds() * 1000, 0.0)
    is_answered = event.completed is not None or event.error is not None or not event.pending
    return _tool_use(
        event.function, event.error, is_answered=is_answered, started_at=event.timestamp, duration_ms=duration
    )


def _of_messages(messages: "Sequence[ChatMessage]") -> list[ToolUse]:
    answers = {message.tool_call_id: message for message in messages if message.role == "tool"}
    uses = []
    asked = set()
    for message in messages:
        if message.role == "assistant":
            for call in message.tool_calls or []:
                asked.add(call.id)
                answer = answers.get(call.id)
                uses.append(_tool_use(call.function, answer.error if answer else None, is_answered=answer is not None))
        elif message.role == "tool" and message.tool_call_id not in asked:
            uses.append(_tool_use(message.function or "unknown", message.error, is_answered=True))
    return uses


def _tool_use(name: str, error: "ToolCallError | None", *, is_answered: bool, **times: Any) -> ToolUse:
    if error is not None:
        return ToolUse(tool_name=name, status="error", error_type=error.type, error_message=error.message, **times)
    return ToolUse(tool_name=name, status="ok" if is_answered else "unanswered", **times)
