"""Folds the many lines of one API response into one request.

Clients write one line per content block and repeat ``message.id`` and the usage on each; only ``output_tokens``
grows from line to line. A response is therefore kept by (message id, request id), with the usage of the line that
has the largest output.
"""

import re
from datetime import datetime
from typing import Annotated

import msgspec

from pipelines.sources.records import ModelRequest

SYNTHETIC_MODEL = "<synthetic>"
_CONTEXT_WINDOW = re.compile(r"\[[^\]]*\]$")
_CHARACTERS_PER_TOKEN_AT_MOST = 16

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Usd = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Key = tuple[str, str | None]


class CacheCreation(msgspec.Struct, gc=False):
    """Cache writes by the life they were paid for."""

    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class ServerToolUse(msgspec.Struct, gc=False):
    """Tools that ran on the provider's side."""

    web_search_requests: Count | None = None


class Usage(msgspec.Struct, gc=False):
    """Token counts as the provider gives them; ``input_tokens`` is the uncached part."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    speed: str | None = None

    def cache_writes(self) -> tuple[int, int]:
        """Tokens written for five minutes and for one hour; what the split leaves out counts as five minutes."""
        split = self.cache_creation
        five = (split.ephemeral_5m_input_tokens or 0) if split else 0
        hour = (split.ephemeral_1h_input_tokens or 0) if split else 0
        total = self.cache_creation_input_tokens
        if total is None:
            return five, hour
        hour = min(hour, total)
        return total - hour, hour


class Message(msgspec.Struct, gc=False):
    """``message`` of a user or assistant line; its content is decoded only where needed."""

    role: str | None = None
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: Usage | None = None
    content: msgspec.Raw = msgspec.Raw()


class Sighting(msgspec.Struct, gc=False):
    """Where and for whom a line of a response was written."""

    offset: int
    line_id: str
    """Names the response when the message has no id."""
    request_id: str | None = None
    timestamp: datetime | None = None
    session_id: str | None = None
    execution_id: str | None = None
    prompt_id: str | None = None
    agent_id: str | None = None
    cost_usd: float | None = None
    characters: int = 0


class Response(msgspec.Struct, gc=False, omit_defaults=True):
    """A response as far as its lines were seen."""

    request: ModelRequest
    characters: int = 0
    """Characters written: thinking, text and tool input."""
    has_stopped: bool = False
    """A line gave a stop reason, so its usage is final."""

    def add(self, message: Message, seen: Sighting) -> None:
        """Fold one more line in."""
        request = self.request
        self.characters += seen.characters
        request.line_count += 1
        if message.stop_reason is not None:
            self.has_stopped = True
            request.stop_reason = message.stop_reason
        if seen.cost_usd is not None:
            request.reported_cost_usd = seen.cost_usd
        usage = message.usage
        if usage is not None and (usage.output_tokens or 0) >= request.output_tokens:
            _set_usage(request, usage)

    def finished(self, *, is_final: bool = True) -> ModelRequest:
        """The request, judged: an output far below the text written is the placeholder of the stream's start.

        ``is_final`` is False for formats whose lines carry placeholders until a stop reason comes.
        """
        request = self.request
        too_little = request.output_tokens * _CHARACTERS_PER_TOKEN_AT_MOST < self.characters
        request.is_output_reliable = request.is_synthetic or self.has_stopped or (is_final and not too_little)
        return request


def key_of(message: Message, seen: Sighting) -> Key:
    """Identity of the response over all files."""
    return message.id or seen.line_id, seen.request_id


def first_sight(message: Message, seen: Sighting) -> Response:
    """A response of which one line was seen."""
    model = message.model or "unknown"
    request = ModelRequest(
        message_id=message.id or seen.line_id,
        model=model_name(model),
        offset=seen.offset,
        request_id=seen.request_id,
        timestamp=seen.timestamp,
        session_id=seen.session_id,
        execution_id=seen.execution_id,
        prompt_id=seen.prompt_id,
        agent_id=seen.agent_id,
        is_synthetic=model == SYNTHETIC_MODEL,
        line_count=0,
    )
    response = Response(request)
    response.add(message, seen)
    return response


def model_name(name: str) -> str:
    """Model without the context window that clients append: ``claude-opus-4-8[1m]`` is ``claude-opus-4-8``."""
    return _CONTEXT_WINDOW.sub("", name) if name.endswith("]") else name


def _set_usage(request: ModelRequest, usage: Usage) -> None:
    request.input_tokens = usage.input_tokens or 0
    request.cache_creation_5m_tokens, request.cache_creation_1h_tokens = usage.cache_writes()
    request.cache_read_tokens = usage.cache_read_input_tokens or 0
    request.output_tokens = usage.output_tokens or 0
    request.service_tier = usage.service_tier
    request.speed = usage.speed
    request.web_search_requests = (usage.server_tool_use.web_search_requests or 0) if usage.server_tool_use else 0
