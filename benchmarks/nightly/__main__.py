"""``python -m benchmarks.nightly [--rows 1M 5M] [--grow days|density] [--json FILE]``: see benchmarks/README.md."""

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Peer, Verdict, interleave, private_server, say, table
from benchmarks.nightly.warehouses import (
    DAYS,
    NEW_DAY,
    Night,
    Warehouse,
    duckdb_percentiles,
    exact_percentiles,
    make,
    materialized_view,
)
from pipelines.maintenance import launch


def parse_count(text: str) -> int:
    """Number of rows in ``250k`` or ``5M``; raises ArgumentTypeError that shows the form."""
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in ("K", "M") else (text, "")
    try:
        return int(float(number) * {"": 1, "K": 1000, "M": 1_000_000}[unit])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a count; write for example 250k or 5M.") from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nightly", description=__doc__)
    parser.add_argument("--rows", type=parse_count, nargs="+", default=[1_000_000, 5_000_000], help="history sizes")
    parser.add_argument(
        "--grow",
        choices=("days", "density"),
        default="days",
        help="whether larger histories have more days like the smallest one's, or more executions on as many days",
    )
    parser.add_argument("--new", type=parse_count, default=20_000, help="executions of the new day")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tracemill-bench-") as folder, private_server() as home:
        sizes = sorted(options.rows)
        days = [DAYS * rows // sizes[0] if options.grow == "days" else DAYS for rows in sizes]
        warehouses = [make(home, rows, options.new, length) for rows, length in zip(sizes, days, strict=True)]
        nights = {warehouse.name: [] for warehouse in warehouses}
        measured = _peers(warehouses, nights, Path(folder))
        through_dagster = Peer("nightly_aggregation through Dagster", lambda: _through_dagster(warehouses[0]))
        bare = Peer("bare dbt build, warm process", lambda: warehouses[0].night().wall)
        interleave([*measured, bare, through_dagster], options.rounds)
    say("\n" + table(measured, measured[0]))
    say("\n" + table([bare, through_dagster], bare))
    for name, found in nights.items():
        blocks = statistics.median(night.blocks for night in found)
        say(f"{name}: tests of a night {statistics.median(night.tests for night in found):.2f} s, {blocks:,.0f} blocks")
    largest, smallest = measured[len(warehouses) - 1], measured[0]
    verdicts = [
        Verdict(f"night with {warehouses[-1].name} over {warehouses[0].name}", largest.median / smallest.median, 1.3),
        Verdict("nightly_aggregation over the bare dbt build", through_dagster.median / bare.median, 2),
    ]
    say("\n" + "\n".join(map(str, verdicts)))
    if options.json:
        seconds = {peer.name: peer.seconds for peer in (*measured, bare, through_dagster)}
        found = [{**dataclasses.asdict(verdict), "holds": verdict.holds} for verdict in verdicts]
        options.json.write_text(json.dumps({"seconds": seconds, "verdicts": found}, indent=2) + "\n")
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


def _peers(warehouses: list[Warehouse], nights: dict[str, list[Night]], folder: Path) -> list[Peer]:
    """The nights first, in the order of their history; then exact ways over the same rows."""

    def night(warehouse: Warehouse) -> float:
        nights[warehouse.name].append(warehouse.night())
        return nights[warehouse.name][-1].models

    found = [Peer(f"night, {w.name}", lambda w=w: night(w), note="all models") for w in warehouses]
    for w in warehouses:
        found.append(Peer(f"exact percentile_cont, {w.name}", lambda w=w: exact_percentiles(w)))
        found.append(Peer(f"concurrent refresh of a materialized view, {w.name}", materialized_view(w)))
        if duckdb := duckdb_percentiles(w, folder):
            found.append(Peer(f"DuckDB quantile_cont, {w.name}", duckdb))
        else:
            say("DuckDB is left out: the package duckdb is not installed.")
    return found


def _through_dagster(warehouse: Warehouse) -> float:
    """The whole job, its process start included."""
    result = launch.aggregate(warehouse.settings, warehouse.dsn, NEW_DAY, NEW_DAY)
    if not result.success:
        raise RuntimeError(f"nightly_aggregation failed: {result.detail}")
    return result.seconds


if __name__ == "__main__":
    main()
