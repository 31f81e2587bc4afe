"""What is measured in warehouses that stand, and what is required of it."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import Peer, Verdict, interleave, say, table
from benchmarks.meter import Timings
from benchmarks.nightly import reads, through_dagster
from benchmarks.nightly.exact import duckdb_percentiles, exact_percentiles, materialized_view
from benchmarks.nightly.warehouses import NEW_DAY, Night, Warehouse


@dataclass(frozen=True)
class Results:
    """Of the smallest warehouse and the largest."""

    peers: list[Peer]
    """The nights, the smallest warehouse first, then exact ways of computing their quantiles."""
    nights: dict[str, list[Night]]
    """By warehouse."""
    builds: list[Peer]
    """Of the smallest warehouse: bare, through Dagster in a warm process, and with all processes started."""
    reads: list[Timings]
    """Of the largest warehouse."""

    @property
    def hold(self) -> bool:
        """Whether every requirement is met."""
        return all(verdict.holds for verdict in self.verdicts())

    def verdicts(self) -> Iterator[Verdict]:
        """Each requirement with what was found."""
        smallest, *_, largest = self.nights
        over = f"night with {largest} over {smallest}"
        for kind in ("work", "blocks"):
            few, many = (
                statistics.median(getattr(night, kind) for night in self.nights[name]) for name in (smallest, largest)
            )
            yield Verdict(f"{over}, {'seconds of all SQL' if kind == 'work' else kind}", many / few, 1.3)
        bare, *through = self.builds
        for peer in through:
            yield Verdict(f"{peer.name} over the bare dbt build", peer.median / bare.median, 2)
        p99, read = max((read.p99(way), f"{read.name}, {way}") for read in self.reads for way in read.calls)
        yield Verdict(f"p99 of the slowest read ({read})", p99, 20, unit="ms")

    def text(self) -> str:
        """Tables and verdicts, in Markdown."""
        parts = [table(self.peers, self.peers[0]), table(self.builds, self.builds[0]), self._nights(), self._reads()]
        return "\n\n".join([*parts, "\n".join(map(str, self.verdicts()))])

    def _nights(self) -> str:
        lines = ["| night, medians | models s | tests s | whole s | blocks |", "| --- | ---: | ---: | ---: | ---: |"]
        for name, found in self.nights.items():
            models, tests, wall, blocks = (
                statistics.median(getattr(night, kind) for night in found)
                for kind in ("models", "tests", "wall", "blocks")
            )
            lines.append(f"| {name} | {models:.1f} | {tests:.1f} | {wall:.1f} | {blocks:,.0f} |")
        return "\n".join(lines)

    def _reads(self) -> str:
        ways = list(self.reads[0].calls)
        lines = [f"| read, p50 / p99 in ms | {' | '.join(ways)} |", f"| ---{' | ---:' * len(ways)} |"]
        for read in self.reads:
            cells = [f"{read.p50(way):.2f} / {read.p99(way):.2f}" for way in ways]
            lines.append(f"| {' | '.join((read.name, *cells))} |")
        return "\n".join(lines)


def measure(warehouses: Sequence[Warehouse], folder: Path, *, rounds: int, calls: int) -> Results:
    """Everything in turn, ``rounds`` times, after one night each that nobody counts; then the reads.

    ``warehouses`` are in the order of their size; ``folder`` takes rows that DuckDB reads.
    """
    smallest, largest = warehouses[0], warehouses[-1]
    nights: dict[str, list[Night]] = {warehouse.name: [] for warehouse in warehouses}

    def night(warehouse: Warehouse) -> float:
        nights[warehouse.name].append(warehouse.night())
        return nights[warehouse.name][-1].work

    for warehouse in warehouses:
        say(f"{warehouse.name}: first night, which fills caches, {warehouse.night().wall:.1f} s")
    through_dagster.in_this_process(smallest)
    peers = [Peer(f"night, {w.name}", partial(night, w), note="all models and tests") for w in warehouses]
    for w in warehouses:
        peers.append(Peer(f"exact percentile_cont, {w.name}", partial(exact_percentiles, w)))
        peers.append(Peer(f"concurrent refresh of a materialized view, {w.name}", materialized_view(w)))
        if duckdb := duckdb_percentiles(w, folder):
            peers.append(Peer(f"DuckDB quantile_cont, {w.name}", duckdb))
        else:
            say("DuckDB is left out: the package duckdb is not installed.")
    builds = [
        Peer("bare dbt build, warm process", lambda: smallest.night().wall),
        Peer("nightly_aggregation, warm process", lambda: through_dagster.in_this_process(smallest)),
        Peer("nightly_aggregation, processes started", lambda: through_dagster.started_anew(smallest)),
    ]
    interleave([*peers, *builds], rounds)
    return Results(peers, nights, builds, reads.ask(largest.dsn, NEW_DAY, calls))
