"""``python -m benchmarks.vectors [--rows 100k] [--json FILE]``: see benchmarks/README.md."""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psycopg
from pgvector import HalfVector

from benchmarks.measure import Verdict, fresh_database, private_server, say
from benchmarks.nightly.__main__ import parse_count
from benchmarks.vectors.warehouse import DIMENSIONS, MODEL, SHARES, fill, questions, tenant
from pipelines.database import connect
from pipelines.enrichment import nearest, similarity

_NEIGHBOURS = 10
_SAME = 1e-6
"""Similarities closer than this are ties: any of the texts is a right answer."""


@dataclass(frozen=True)
class Measured:
    """One set of rows asked all questions, exactly and as `tracemill similar` asks."""

    name: str
    rows: int
    recall: float
    exact_ms: float
    nearest_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return (
            f"| {self.name} | {self.rows:,} | {self.recall:.3f} | {self.exact_ms:.1f} | {self.nearest_ms:.1f} "
            f"| {self.p99_ms:.1f} | {self.nearest_ms / self.exact_ms:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description=__doc__)
    parser.add_argument("--rows", type=parse_count, default=100_000, help="stored vectors")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    asked = questions(options.questions)
    with private_server() as home:
        dsn = fresh_database(home, "vectors")
        fill(dsn, options.rows)
        with connect(dsn, role="tracemill_ingest", autocommit=True) as connection:
            started = time.perf_counter()
            connection.execute("select ops.ensure_embedding_index(%s, %s)", [MODEL, DIMENSIONS])
            build = time.perf_counter() - started
        with connect(dsn, autocommit=True) as owner:
            owner.execute("vacuum analyze raw.embeddings, raw.embedding_subjects")
            everything = _without_filter(owner, asked)
        say(f"index built in {build:.0f} s, {build / everything.exact_ms * 1000:.0f} x an exact scan\n")
        projects = []
        for project in SHARES:
            with connect(dsn, autocommit=True) as analyst:
                tenant(analyst, project)
                projects.append(_inside(analyst, project, asked))
    say("| | vectors | recall@10 | exact p50 ms | nearest p50 ms | p99 ms | nearest / exact |")
    say("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for measured in (everything, *projects):
        say(str(measured))
    verdicts = [
        verdict
        for measured in (everything, *projects)
        for verdict in (
            Verdict(f"recall@10, {measured.name}", measured.recall, 0.95, at_least=True, unit=""),
            Verdict(f"p50 over the exact scan of all, {measured.name}", measured.nearest_ms / everything.exact_ms, 0.1),
        )
    ]
    say("\n" + "\n".join(map(str, verdicts)))
    if options.json:
        found = [{**dataclasses.asdict(verdict), "holds": verdict.holds} for verdict in verdicts]
        numbers = [dataclasses.asdict(measured) for measured in (everything, *projects)]
        options.json.write_text(json.dumps({"measured": numbers, "verdicts": found}, indent=2) + "\n")
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


def _without_filter(connection: psycopg.Connection, asked: Sequence[HalfVector]) -> Measured:
    """The bare index against the bare scan, over the vectors of all projects."""
    query = (
        "select 1 - distance from (select {0} <=> %s::halfvec as distance from raw.embeddings "
        f"where model = '{MODEL}' and dimensions = {DIMENSIONS} order by {{0}} <=> %s::halfvec "
        f"limit {_NEIGHBOURS}) as n order by distance"
    )

    def ask(vector: HalfVector, column: str, sort: str) -> list[float]:
        connection.execute("select set_config('enable_sort', %s, false)", [sort])
        text = vector.to_text()
        return [row[0] for row in connection.execute(query.format(column), [text, text])]

    connection.execute("select set_config('hnsw.ef_search', %s, false)", [str(similarity.EF_SEARCH)])
    rows = connection.execute("select count(*) from raw.embeddings").fetchone()
    return _compare(
        "all, no filter", rows[0] if rows else 0, asked,
        lambda vector: ask(vector, "embedding", "on"),
        lambda vector: ask(vector, f"embedding::halfvec({DIMENSIONS})", "off"),
    )  # fmt: skip


def _inside(connection: psycopg.Connection, project: str, asked: Sequence[HalfVector]) -> Measured:
    """As an analyst of one project, under row-level security."""
    wanted = partial(nearest, project=project, model=MODEL, kinds=["error"])
    text = (
        "select 1 - distance from (select embedding <=> %s::halfvec as distance from raw.embeddings where model = %s "
        f"order by distance limit {_NEIGHBOURS}) as n order by distance"
    )

    def exact(vector: HalfVector) -> list[float]:
        return [row[0] for row in connection.execute(text, [vector.to_text(), MODEL])]

    rows = connection.execute("select count(*) from raw.embeddings").fetchone()
    return _compare(
        f"project {project}", rows[0] if rows else 0, asked,
        exact, lambda vector: [found.similarity for found in wanted(connection, vector)],
    )  # fmt: skip


Ask = Callable[[HalfVector], list[float]]
"""Similarities of the nearest texts, best first."""


def _compare(name: str, rows: int, asked: Sequence[HalfVector], exact: Ask, near: Ask) -> Measured:
    """Both ways in turn for each question; the first few, which warm the caches, do not count."""
    recalls, exact_seconds, near_seconds = [], [], []
    for vector in (*asked[:5], *asked):
        started = time.perf_counter()
        truth = exact(vector)
        between = time.perf_counter()
        found = near(vector)
        ended = time.perf_counter()
        exact_seconds.append(between - started)
        near_seconds.append(ended - between)
        recalls.append(sum(one >= truth[-1] - _SAME for one in found) / len(truth))
    times = sorted(near_seconds[5:])
    return Measured(
        name, rows, statistics.mean(recalls[5:]), 1000 * statistics.median(exact_seconds[5:]),
        1000 * statistics.median(times), 1000 * times[int(len(times) * 0.99)],
    )  # fmt: skip


if __name__ == "__main__":
    main()
