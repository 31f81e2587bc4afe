"""What a rollout's reader keeps: across segments in ``Memory``, within one in ``Segment``."""

from collections import Counter
from datetime import datetime

import msgspec

from pipelines.sources.records import ModelRequest, ToolCall

from .execution import OpenExecution
from .threads import Thread
from .usage import Counters


class Memory(msgspec.Struct):
    """What is known where a segment starts."""

    threads: list[Thread] = []
    """The file's own, then those that it was forked from."""
    thread_id: str | None = None
    """The one that the lines belong to."""
    turn_id: str | None = None
    """The turn that runs; None between turns, and in older files, which name none."""
    turn_executions: int = 0
    announces_end: bool = False
    copied_at: datetime | None = None
    """When the turn began, if its lines are a copy, which have the clocks of the copying."""
    executions: int = 0
    cwd: str | None = None
    model: str | None = None
    effort: str | None = None
    permission_mode: str | None = None
    service_tier: str | None = None
    totals: Counters | None = None
    """As the file showed them last."""
    restarts: int = 0
    """How often the counters went back."""
    web_searches: int = 0
    """Since the last response."""
    tools: list[ToolCall] = []
    """Those still without an output."""


class Segment(msgspec.Struct):
    """Lines since something was typed."""

    offset: int
    lines: int
    """Lines of the file before the segment."""
    memory: Memory
    """As it was before the first line of the segment."""
    execution: OpenExecution | None = None
    requests: dict[str, ModelRequest] = {}
    tools: dict[str, ToolCall] = {}
    unclaimed: list[ToolCall] = []
    """Calls of the response whose usage is still to come."""
    unknown: Counter[str] = msgspec.field(default_factory=Counter)
