"""Cumulative counters of a thread, and what one response added to them.

``total_token_usage`` grows over the life of a thread and is written again whenever a rate limit is reported, so a
response is a difference, and no difference is no response. The counters start anew when a client resumes a thread or
gives up on a full context; then only ``last_token_usage`` says what the response used.
"""

import msgspec

from .schema import TokenInfo, TokenUsage


class Counters(msgspec.Struct, frozen=True):
    """Tokens; ``cached`` and ``cache_written`` are part of ``input``, ``reasoning`` of ``output``."""

    input: int = 0
    cached: int = 0
    cache_written: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def uncached(self) -> int:
        """Input that was neither read from the cache nor written to it."""
        return max(self.input - self.cached - self.cache_written, 0)

    def __bool__(self) -> bool:
        return self.input > 0 or self.output > 0

    def since(self, earlier: "Counters") -> "Counters | None":
        """What was added since ``earlier``; None when a counter went back, which it does by starting anew."""
        gained = [now - then for now, then in zip(_values(self), _values(earlier), strict=True)]
        return None if min(gained) < 0 else Counters(*gained).consistent()

    def consistent(self) -> "Counters":
        """The same with no part larger than its whole."""
        cached = min(self.cached, self.input)
        written = min(self.cache_written, self.input - cached)
        return Counters(self.input, cached, written, self.output, min(self.reasoning, self.output))


def counters(usage: TokenUsage) -> Counters:
    """``usage`` with 0 for what it leaves out."""
    return Counters(
        usage.input_tokens or 0,
        usage.cached_input_tokens or 0,
        usage.cache_write_input_tokens or 0,
        usage.output_tokens or 0,
        usage.reasoning_output_tokens or 0,
    )


def added(info: TokenInfo, before: Counters | None, *, from_zero: bool) -> Counters:
    """What the response behind ``info`` used, when the counters stood at ``before``.

    Without ``before``, a thread of its own counts ``from_zero``; one that was forked goes on from counters that its
    file need not show.
    """
    last = counters(info.last_token_usage).consistent() if info.last_token_usage else None
    if info.total_token_usage is None:
        return last or Counters()
    total = counters(info.total_token_usage)
    if before is None:
        return total.consistent() if from_zero or last is None else last
    gained = total.since(before)
    if gained is not None:
        return gained
    return total.consistent() if last is None else last


def _values(of: Counters) -> tuple[int, ...]:
    return of.input, of.cached, of.cache_written, of.output, of.reasoning
