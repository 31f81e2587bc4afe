"""``python -m benchmarks.serving [--runs 1M] [--projects 100] [--json FILE]``: see benchmarks/README.md."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from benchmarks.measure import Verdict, fresh_database, private_server, say
from benchmarks.meter import Meter, Timings
from benchmarks.nightly.__main__ import parse_count
from benchmarks.readers import LOGIN, TOKEN, let_in, readers
from benchmarks.serving.queries import ANALYTICS, QUERIES, Query
from benchmarks.serving.warehouse import Run, build_analytics, choose, fill
from pipelines.database import connect

_OPEN = "no security"
_PAGE = 20
_DEPTHS = (0, 1_000, 10_000, 40_000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--runs", type=parse_count, default=1_000_000)
    parser.add_argument("--projects", type=int, default=100)
    parser.add_argument("--detailed", type=parse_count, default=25_000, help="runs with iterations and samples")
    parser.add_argument("--calls", type=int, default=300, help="calls of each query, each way")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    with private_server() as home:
        dsn = fresh_database(home, "serving")
        fill(dsn, runs=options.runs, projects=options.projects, detailed=options.detailed)
        build_analytics(dsn, home)
        asked = choose(dsn, options.calls)
        queries = [_ask(dsn, query, asked) for query in (*QUERIES, ANALYTICS)]
        pages = _ask_pages(dsn, options.calls)
    say("\n" + _table([(found, _OPEN) for found in queries]))
    say("\n" + _table([(pages, next(iter(pages.calls)))]) + "\n")
    verdicts = list(_verdicts(queries, pages))
    say("\n".join(map(str, verdicts)))
    if options.json:
        found = [{**dataclasses.asdict(verdict), "holds": verdict.holds} for verdict in verdicts]
        measured = {one.name: one.calls for one in (*queries, pages)}
        numbers = {"calls": measured, "verdicts": found}
        options.json.write_text(json.dumps(numbers, default=dataclasses.asdict) + "\n")
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


def _verdicts(queries: Sequence[Timings], pages: Timings) -> Iterator[Verdict]:
    for found in queries:
        for way in found.calls:
            yield Verdict(f"p99, {found.name}, {way}", found.p99(way), 20, unit="ms")
        for way in (LOGIN, TOKEN):
            yield Verdict(f"p50 over {_OPEN}, {found.name}, {way}", found.ratio(way, _OPEN), 1.2)
    first, *deeper = pages.calls
    for depth in deeper:
        yield Verdict(f"page {depth} over the first", pages.ratio(depth, first), 1.2)


def _table(rows: Sequence[tuple[Timings, str]]) -> str:
    """Times, ratios to one of the ways and (the same of processor time) in Markdown; all were asked the same ways."""
    ways = list(rows[0][0].calls)
    lines = [
        f"| p50 / p99 in ms | {' | '.join(ways)} | {' | '.join(f'{way}, x' for way in ways[1:])} |",
        f"| ---{' | ---:' * (2 * len(ways) - 1)} |",
    ]
    for found, base in rows:
        cells = [f"{found.p50(way):.2f} / {found.p99(way):.2f}" for way in ways]
        cells += [f"{found.ratio(way, base):.2f} ({found.processor_ratio(way, base):.2f})" for way in ways[1:]]
        lines.append(f"| {' | '.join((found.name, *cells))} |")
    return "\n".join(lines)


def _ask(dsn: str, query: Query, asked: Sequence[Run]) -> Timings:
    """Every way in turn, for each run with its own project, once all has been asked and so been read from disk."""
    timings = Timings(query.name)
    with ExitStack() as stack:
        unrestricted = stack.enter_context(connect(dsn, autocommit=True))
        unrestricted.prepare_threshold = None
        connections = {_OPEN: unrestricted, **stack.enter_context(readers(dsn))}
        owner = stack.enter_context(connect(dsn, autocommit=True))
        for run in asked:
            owner.execute(query.text, dataclasses.asdict(run))
        meters = {way: Meter(connection) for way, connection in connections.items()}
        for project, runs in groupby(sorted(asked, key=attrgetter("project")), attrgetter("project")):
            let_in(owner, connections[TOKEN], project)
            for number, run in enumerate(runs):
                values = dataclasses.asdict(run)
                ways = list(connections)
                for way in (*ways[number % 3 :], *ways[: number % 3]):
                    timings.add(way, meters[way].measure(query.text, values))
    return timings


def _ask_pages(dsn: str, calls: int) -> Timings:
    """Pages of the largest project, the first and those far behind it."""
    timings = Timings("next page of 20")
    with connect(dsn, autocommit=True) as owner, connect(dsn, autocommit=True) as analyst:
        found = owner.execute(
            "select project_id, count(*) from raw.optimization_runs group by 1 order by 2 desc limit 1"
        ).fetchone()
        project, size = found or ("", 0)
        let_in(owner, analyst, project)
        analyst.execute("set role app_readonly")
        analyst.prepare_threshold = None
        keys = {
            f"after {depth:,} rows": owner.execute(
                "select created_at, id from raw.optimization_runs where project_id = %s "
                "order by created_at desc, id desc limit 1 offset %s",
                [project, depth],
            ).fetchone()
            for depth in _DEPTHS
            if depth + _PAGE <= size
        }
        meter = Meter(analyst)
        for _ in range(calls):
            for name, key in keys.items():
                created_at, run_id = key or (None, None)
                values = {"project": project, "created_at": created_at, "run_id": run_id}
                timings.add(name, meter.measure(_NEXT_PAGE, values))
    return timings


_NEXT_PAGE = (
    "select * from raw.optimization_runs where project_id = %(project)s and (created_at, id) <= (%(created_at)s, "
    f"%(run_id)s) order by created_at desc, id desc limit {_PAGE}"
)


if __name__ == "__main__":
    main()
