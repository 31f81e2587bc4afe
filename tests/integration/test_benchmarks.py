"""The benchmarks run, at a size that proves nothing else."""

import json
import sys
from datetime import date
from pathlib import Path

import psycopg
import pytest

from benchmarks.measure import run_command
from benchmarks.nightly.reads import READS
from benchmarks.nightly.rows import Analytics, insert
from benchmarks.readers import LOGIN, TOKEN
from benchmarks.serving.__main__ import _OPEN, _ask, _ask_pages
from benchmarks.serving.queries import QUERIES
from benchmarks.serving.warehouse import choose, fill
from benchmarks.triggers.__main__ import _PROJECT, _run, loads
from pipelines.database import connect
from tests.optimization import register


def test_serving_asks_every_query_every_way(dsn):
    fill(dsn, runs=400, projects=3, detailed=20)
    asked = choose(dsn, 14)
    assert len(asked) == 14
    for query in QUERIES:
        timings = _ask(dsn, query, asked)
        assert {way: len(calls) for way, calls in timings.calls.items()} == dict.fromkeys((_OPEN, LOGIN, TOKEN), 14)
        assert timings.p50(_OPEN) > 0
        assert timings.processor_ratio(TOKEN, _OPEN) > 0
    assert len(_ask_pages(dsn, 14).calls["after 0 rows"]) == 14


def test_triggers_writes_every_load_both_ways_and_checks_what_was_kept(dsn):
    with connect(dsn, autocommit=True) as connection:
        register(connection, _PROJECT)
        for load in loads(800):
            for with_triggers in (True, False):
                assert _run(connection, load, with_triggers).processor > 0
        written = connection.execute("select count(*) from raw.optimization_iterations").fetchone()
    assert written == (4 * 2 * 800,)


def test_rows_of_optimizations_and_evaluations_are_as_many_as_asked_for_and_the_same_each_time(dsn):
    with connect(dsn, autocommit=True) as connection:
        insert(connection, date(2026, 3, 1), 12, Analytics(runs=5, outcomes=40))
        counts = [
            connection.execute(f"select count(*) from raw.{table}").fetchone()[0]
            for table in ("optimization_runs", "outcomes", "simulations", "tool_usage", "failure_patterns")
        ]
        assert counts[:2] == [12 * 5, 12 * 40]
        assert min(counts) > 0
        # A run begins and ends with the scores that it says.
        assert connection.execute(
            """
            select count(*) from raw.optimization_runs as r
            join raw.optimization_iterations as i on i.run_id = r.id and i.iteration in (0, r.iterations - 1)
            where i.score_raw <> case i.iteration when 0 then r.initial_score_raw else r.final_score_raw end
            """
        ).fetchone() == (0,)
        with pytest.raises(psycopg.errors.UniqueViolation):
            insert(connection, date(2026, 3, 12), 1, Analytics(runs=5, outcomes=40))


@pytest.mark.slow
def test_ingest_measures_itself_its_load_step_and_the_peers_that_are_there(tmp_path: Path) -> None:
    found = tmp_path / "ingest.json"
    run_command(
        [sys.executable, "-m", "benchmarks.ingest", "--size", "2MB", "--rounds", "1", "--json", str(found)],
        accepted=(0, 1),
    )
    seconds = json.loads(found.read_bytes())["seconds"]
    assert {"floor, 1 process", "tracemill ingest", "tracemill, load step alone", "pandas to_sql"} <= set(seconds)
    assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in seconds.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nightly_measures_nights_reads_and_dagster(tmp_path: Path) -> None:
    found = tmp_path / "nightly.json"
    run_command(
        [
            sys.executable, "-m", "benchmarks.nightly", "--rows", "1200", "2400", "--runs", "240", "--outcomes", "2400",
            "--new", "20", "--rounds", "1", "--calls", "36", "--json", str(found),
        ],
        accepted=(0, 1),
    )  # fmt: skip
    numbers = json.loads(found.read_bytes())
    assert [verdict["limit"] for verdict in numbers["verdicts"]] == [1.3, 1.3, 2, 2, 20]
    assert set(numbers["calls"]) == set(READS)
    assert all(night["blocks"] > 0 for nights in numbers["nights"].values() for night in nights)
