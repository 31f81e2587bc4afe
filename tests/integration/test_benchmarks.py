"""The benchmarks of serving and triggers run, at a size that proves nothing else."""

from benchmarks.serving.__main__ import _LOGIN, _OPEN, _TOKEN, _ask, _ask_pages
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
        assert {way: len(calls) for way, calls in timings.calls.items()} == dict.fromkeys((_OPEN, _LOGIN, _TOKEN), 14)
        assert timings.p50(_OPEN) > 0
        assert timings.processor_ratio(_TOKEN, _OPEN) > 0
    assert len(_ask_pages(dsn, 14).calls["after 0 rows"]) == 14


def test_triggers_writes_every_load_both_ways_and_checks_what_was_kept(dsn):
    with connect(dsn, autocommit=True) as connection:
        register(connection, _PROJECT)
        for load in loads(800):
            for with_triggers in (True, False):
                assert _run(connection, load, with_triggers).processor > 0
        written = connection.execute("select count(*) from raw.optimization_iterations").fetchone()
    assert written == (4 * 2 * 800,)
