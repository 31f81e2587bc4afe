"""How long a query takes, and how much of that the database works.

On a machine that others use, the time of a call tells of the others as well; the processor time of the session that
answers tells less of them.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

_UNCOUNTED = 10
"""First calls, which fill caches and make the plans that later calls use."""
_SETTLE_SECONDS = 0.0003
"""Until the session sleeps again: only then is its processor time up to date."""


@dataclass(frozen=True)
class Call:
    """One call, in milliseconds."""

    elapsed: float
    """As the caller waits for it."""
    processor: float
    """Of the session in the server."""


class Meter:
    """Measures calls over one connection to a server on this machine (Linux)."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._statistics = Path(f"/proc/{connection.info.backend_pid}/schedstat")

    def measure(self, text: str, values: Mapping[str, object]) -> Call:
        before = self._processor_ns()
        started = time.perf_counter_ns()
        cursor = self._connection.execute(text, values)
        if cursor.description:
            cursor.fetchall()
        elapsed = time.perf_counter_ns() - started
        return Call(elapsed / 1e6, (self._processor_ns() - before) / 1e6)

    def _processor_ns(self) -> int:
        time.sleep(_SETTLE_SECONDS)
        return int(self._statistics.read_text().split()[0])


@dataclass
class Timings:
    """All calls of one query, by the way it was asked."""

    name: str
    calls: dict[str, list[Call]] = field(default_factory=dict)

    def add(self, way: str, call: Call) -> None:
        self.calls.setdefault(way, []).append(call)

    def p50(self, way: str) -> float:
        """Of the time a caller waits."""
        return statistics.median(call.elapsed for call in self._counted(way))

    def p99(self, way: str) -> float:
        """Of the time a caller waits."""
        return statistics.quantiles((call.elapsed for call in self._counted(way)), n=100)[98]

    def ratio(self, way: str, base: str) -> float:
        """Medians of the time a caller waits, over each other."""
        return self.p50(way) / self.p50(base)

    def processor_ratio(self, way: str, base: str) -> float:
        """Medians of the processor time that the server takes, over each other."""
        return self._processor(way) / self._processor(base)

    def _processor(self, way: str) -> float:
        return statistics.median(call.processor for call in self._counted(way))

    def _counted(self, way: str) -> list[Call]:
        return self.calls[way][_UNCOUNTED:]
