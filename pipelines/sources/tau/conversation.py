"""Messages of a conversation between agent, customer and tools, as both benchmarks write them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipelines.sources.json_documents import moment, text_of
from pipelines.sources.outputs import ToolUse
from pipelines.sources.steps import cut


class Function(msgspec.Struct):
    """What a tool call asks for, in the layout of OpenAI."""

    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct):
    """A tool call: flat in tau2, with ``function`` in tau-bench."""

    id: str | None = None
    name: str | None = None
    arguments: Any = None
    function: Function | None = None
    requestor: str = "assistant"
    """``user`` where the customer has tools, too."""

    @property
    def tool(self) -> str:
        """Name of the tool."""
        return self.name or (self.function.name if self.function else None) or "unknown"

    @property
    def given(self) -> str:
        """Arguments as text."""
        return text_of(self.function.arguments if self.function else self.arguments)


class Usage(msgspec.Struct):
    """Tokens of one response; ``prompt_tokens`` includes what was read from a cache, without saying how much."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Message(msgspec.Struct):
    """One message; which fields it has depends on its role."""

    role: str
    content: Any = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    id: str | None = None
    """Of the call that a tool answers, in tau2."""
    name: str | None = None
    error: bool | None = None
    requestor: str = "assistant"
    timestamp: str | None = None
    usage: Usage | None = None
    tool_messages: list["Message"] | None = None
    """Answers to several calls at once, in tau2."""


@dataclass
class Conversation:
    """What came of the messages."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    tools: list[ToolUse] = field(default_factory=list)
    """The agent's; those of the customer are steps only."""
    prompt_tokens: int | None = None
    """The agent's, cached ones included."""
    output_tokens: int | None = None


def conversation(messages: Iterable[Message], *, errors_begin_with: str | None = None) -> Conversation:
    """Steps, tool uses and tokens. Raises UnusableLine for a time that cannot be read.

    ``errors_begin_with`` tells the answers of tools that failed where the format has no flag for them.
    """
    result = Conversation()
    waiting: dict[str, ToolUse] = {}
    for message in _flat(messages):
        step: dict[str, Any] = {"role": message.role, "text": cut(text_of(message.content))}
        if message.timestamp:
            step["at"] = message.timestamp
        if message.role == "tool":
            is_error = message.error or bool(errors_begin_with and step["text"].startswith(errors_begin_with))
            use = waiting.pop(message.tool_call_id or message.id or "", None)
            if use is not None:
                use.status = "error" if is_error else "ok"
                use.error_message = step["text"] if is_error else None
            step["tool"] = message.name or (use.tool_name if use else None)
            if is_error:
                step["is_error"] = True
        for call in message.tool_calls or ():
            step.setdefault("calls", []).append({"tool": call.tool, "arguments": cut(call.given)})
            if message.role == "assistant" and call.requestor == "assistant":
                use = ToolUse(tool_name=call.tool, status="unanswered", started_at=moment(message.timestamp, "A time"))
                result.tools.append(use)
                waiting[call.id or ""] = use
        if message.role == "assistant" and message.usage is not None:
            result.prompt_tokens = _sum(result.prompt_tokens, message.usage.prompt_tokens)
            result.output_tokens = _sum(result.output_tokens, message.usage.completion_tokens)
        result.steps.append(step)
    return result


def _flat(messages: Iterable[Message]) -> Iterator[Message]:
    for message in messages:
        if message.tool_messages:
            yield from message.tool_messages
        else:
            yield message


def _sum(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more
