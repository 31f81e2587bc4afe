"""What the generator really wrote, counted from its own decisions while it writes.

Nothing here is read back from the files, so a warehouse that agrees with it has understood the format.
Memory grows with days, models and tools, never with the size of the logs.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple


class UsageKey(NamedTuple):
    """Grain of token counts; ``activity_date`` is the UTC day of the response's first line."""

    project: str
    activity_date: date
    model: str


class ExecutionKey(NamedTuple):
    """Grain of execution counts; ``activity_date`` is the UTC day of the opening line."""

    project: str
    activity_date: date
    kind: str
    status: str


class ToolKey(NamedTuple):
    """Grain of tool use counts."""

    project: str
    tool: str
    status: str


@dataclass
class Usage:
    """Tokens of API responses, each response counted once with its final output."""

    requests: int = 0
    input_tokens: int = 0
    cache_creation_5m_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    web_search_requests: int = 0

    def add(self, other: "Usage") -> None:
        """Adds what ``other`` used."""
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.cache_creation_5m_tokens += other.cache_creation_5m_tokens
        self.cache_creation_1h_tokens += other.cache_creation_1h_tokens
        self.cache_read_tokens += other.cache_read_tokens
        self.output_tokens += other.output_tokens
        self.web_search_requests += other.web_search_requests

    @property
    def prompt_tokens(self) -> int:
        """All that was sent to the model: uncached, written to the cache and read from it."""
        return (
            self.input_tokens + self.cache_creation_5m_tokens + self.cache_creation_1h_tokens + self.cache_read_tokens
        )

    @property
    def total_tokens(self) -> int:
        """Prompt and output."""
        return self.prompt_tokens + self.output_tokens


@dataclass
class SampleTruth:
    """Ground truth of one generated folder."""

    folder: Path
    projects: tuple[str, ...]
    first_day: date
    last_day: date
    usage: dict[UsageKey, Usage] = field(default_factory=dict)
    executions: Counter[ExecutionKey] = field(default_factory=Counter)
    commands: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Executions by project and command base; free text is not counted here."""
    tool_calls: Counter[ToolKey] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    """Session ids by project, forks included; a headless run's stream is not another session."""
    synthetic_messages: int = 0
    """Messages made by the client itself: no tokens, not an API response."""
    secrets: list[str] = field(default_factory=list)
    """Planted values that must not survive redaction."""
    unknown_lines: Counter[str] = field(default_factory=Counter)
    """Lines of types that no client writes, by type."""
    broken_lines: int = 0
    """Lines cut in the middle."""
    files: int = 0
    lines: int = 0
    """Non-blank lines."""
    bytes: int = 0

    def record_usage(self, project: str, activity_date: date, model: str, usage: Usage) -> None:
        """Counts one response."""
        key = UsageKey(project, activity_date, model)
        known = self.usage.get(key)
        if known is None:
            known = self.usage[key] = Usage()
        known.add(usage)

    def total_usage(self, *, project: str | None = None, model: str | None = None) -> Usage:
        """Tokens of every response, of one project or of one model."""
        total = Usage()
        for key, usage in self.usage.items():
            if project in (None, key.project) and model in (None, key.model):
                total.add(usage)
        return total

    def executions_by_status(self, project: str | None = None) -> Counter[str]:
        """Executions of all projects or of one."""
        counts: Counter[str] = Counter()
        for key, count in self.executions.items():
            if project in (None, key.project):
                counts[key.status] += count
        return counts
