"""``python -m benchmarks.nightly [--rows 1M 5M] [--grow days|density] [--json FILE]``: see benchmarks/README.md."""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import private_server, say
from benchmarks.nightly.results import Results, measure
from benchmarks.nightly.rows import Analytics
from benchmarks.nightly.warehouses import DAYS, NewDay, make


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
    parser.add_argument("--runs", type=parse_count, default=100_000, help="optimization runs of every history")
    parser.add_argument("--outcomes", type=parse_count, default=1_000_000, help="outcomes of every history")
    parser.add_argument("--new", type=parse_count, default=20_000, help="executions of the new day")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=300, help="calls of each query of a mart, each way")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    analytics = Analytics(options.runs, options.outcomes)
    # A day of runs and outcomes is as large as one of the shortest history.
    new_day = NewDay(options.new, analytics.spread_over(DAYS))
    with tempfile.TemporaryDirectory(prefix="tracemill-bench-") as folder, private_server() as home:
        sizes = sorted(options.rows)
        days = [DAYS * rows // sizes[0] if options.grow == "days" else DAYS for rows in sizes]
        warehouses = [make(home, rows, length, analytics, new_day) for rows, length in zip(sizes, days, strict=True)]
        results = measure(warehouses, Path(folder), rounds=options.rounds, calls=options.calls)
    report(results, options.json)
    sys.exit(0 if results.hold else 1)


def report(results: Results, file: Path | None = None) -> None:
    """Prints everything; writes the numbers to ``file``."""
    say("\n" + results.text())
    if file:
        numbers = {
            "seconds": {peer.name: peer.seconds for peer in (*results.peers, *results.builds)},
            "nights": {name: [dataclasses.asdict(night) for night in found] for name, found in results.nights.items()},
            "calls": {read.name: read.calls for read in results.reads},
            "verdicts": [{**dataclasses.asdict(one), "holds": one.holds} for one in results.verdicts()],
        }
        file.write_text(json.dumps(numbers, default=dataclasses.asdict, indent=2) + "\n")


if __name__ == "__main__":
    main()
