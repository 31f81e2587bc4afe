"""``python -m benchmarks.ingest [--size 1GB] [--memory 4GB] [--json FILE]``: see benchmarks/README.md."""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.ingest import floor, load_step, peers
from benchmarks.measure import Finished, Peer, Verdict, interleave, private_server, say, table
from pipelines.database import embedded
from pipelines.samples import REAL, SampleTruth, generate
from pipelines.samples.__main__ import parse_size

MEGABYTE = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--size", type=parse_size, default=parse_size("1GB"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=parse_size, help="also measure peak memory at this size, for example 4GB")
    parser.add_argument("--sample", type=float, default=1.0, help="share of rows given to dlt and pandas")
    parser.add_argument("--dlt-python", type=Path, help="Python of an environment that has dlt[postgres]")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tracemill-bench-") as folder, private_server() as home:
        verdicts, measured = _compare(options, Path(folder), home)
        if options.memory:
            verdicts.append(_memory_at(options.memory, Path(folder), home))
    say("")
    for verdict in verdicts:
        say(str(verdict))
    if options.json:
        found = {
            "size_bytes": options.size,
            "seconds": {peer.name: peer.seconds for peer in measured},
            "verdicts": [{**dataclasses.asdict(verdict), "holds": verdict.holds} for verdict in verdicts],
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


def _compare(options: argparse.Namespace, folder: Path, home: Path) -> tuple[list[Verdict], list[Peer]]:
    truth = generate(folder / "logs", size_bytes=options.size, texture=REAL)
    work = peers.Tracemill(truth.folder, home)
    files = sorted(truth.folder.rglob("*.jsonl"))
    say(f"{truth.bytes / MEGABYTE:.0f} MB in {truth.files} files, {truth.lines} lines; {os.cpu_count()} processors")

    warm = work.ingest("ingested", memory=True)
    dsn = _dsn(home, "ingested")
    dump = peers.dump(dsn, folder / "rows", options.sample)
    say(f"{dump.rows} rows; dlt and pandas get {dump.sampled_rows} of them, their time is scaled by {dump.scale:.1f}")

    own: dict[str, list[float]] = {"first": [], "again": []}
    ingest = Peer(
        "tracemill ingest", lambda: _noted(work.ingest("ingested"), own["first"]), note="2 jobs, whole command"
    )
    again = Peer("tracemill ingest, nothing changed", lambda: _noted(work.again(dsn), own["again"]), note="same")
    copy = Peer("raw COPY of the same rows", lambda: peers.copy_rows(dump, home, dsn))
    kept = load_step.keep_rows(truth.folder, home, folder / "kept")
    load = Peer("tracemill, load step alone", lambda: load_step.seconds(kept, home, dsn), note="same rows, 2 processes")
    measured = [
        Peer("floor, 1 process", lambda: floor.seconds(files, 1), note="read and decode with msgspec"),
        Peer("floor, 2 processes", lambda: floor.seconds(files, 2)),
        ingest,
        again,
        load,
        copy,
    ]
    scan = merge = None
    if program := peers.find_ccusage():
        total = json.loads(peers.ccusage(program, truth.folder).output)["totals"]["totalTokens"]
        say(f"ccusage counts {total} tokens, the logs hold {truth.total_usage().total_tokens}")
        scan = Peer("ccusage", lambda: peers.ccusage(program, truth.folder).seconds, note="scans and sums only")
        measured.append(scan)
    else:
        say("ccusage is left out: it is not on the PATH and TRACEMILL_BENCH_CCUSAGE does not name it.")
    if python := peers.find_dlt(options.dlt_python):
        append = Peer(
            "dlt append", lambda: peers.load_with_dlt(dump, home, python, "append"), rounds=2, note="rows only"
        )
        merge = Peer("dlt merge", lambda: peers.load_with_dlt(dump, home, python, "merge"), rounds=2, note="rows only")
        measured += [append, merge]
    else:
        say("dlt is left out: neither --dlt-python nor TRACEMILL_BENCH_DLT names an environment that has it.")
    pandas = Peer("pandas to_sql", lambda: peers.load_with_pandas(dump, home), rounds=2, note="rows only")
    measured.append(pandas)

    interleave(measured, options.rounds)
    say("\n" + table(measured, ingest))
    share = 100 * statistics.median(own["again"]) / statistics.median(own["first"])
    verdicts = [
        Verdict("re-ingest of unchanged files over the first, start of the process apart", share, 2, unit="%"),
        _memory_verdict(truth, warm.peak_bytes),
    ]
    if scan:
        verdicts.append(Verdict("ingest over ccusage's scan (aim 1.5)", ingest.median / scan.median, 3))
    if merge:
        verdicts += [
            Verdict("dlt merge over the load step of the same rows", merge.median / load.median, 8, at_least=True),
            Verdict("dlt merge over the whole ingest", merge.median / ingest.median, 8, at_least=True),
        ]
    return verdicts, measured


def _noted(finished: Finished, own: list[float]) -> float:
    """Seconds of the whole command; those that the ingest itself reports are added to ``own``."""
    own.append(json.loads(finished.output)["seconds"])
    return finished.seconds


def _memory_at(size: int, folder: Path, home: Path) -> Verdict:
    truth = generate(folder / "large", size_bytes=size, texture=REAL)
    return _memory_verdict(truth, peers.Tracemill(truth.folder, home).ingest("large", memory=True).peak_bytes)


def _memory_verdict(truth: SampleTruth, peak_bytes: int) -> Verdict:
    name = f"peak memory of all ingest processes at {truth.bytes / MEGABYTE:.0f} MB, the server apart"
    return Verdict(name, peak_bytes / MEGABYTE, 300, unit="MB")


def _dsn(home: Path, database: str) -> str:
    return embedded.status(home).dsn(database)


if __name__ == "__main__":
    main()
