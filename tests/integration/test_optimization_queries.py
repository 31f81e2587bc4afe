"""Documented queries of optimization runs find their rows by index and give a tenant its own, nobody else's.

Tests with a number are named after the flaw of the published schema that they keep out.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from pipelines.database import connect
from tests.optimization import PROJECT, Iteration, add_iterations, add_run, insert, register, sample_row

TABLES = ("optimization_runs", "optimization_iterations", "optimization_samples")


@pytest.fixture(scope="module")
def database(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """Two projects; alpha has 6,000 runs, beta half of them."""
    with migrated_database() as dsn:
        with connect(dsn, autocommit=True) as owner:
            register(owner, PROJECT, "beta")
            owner.execute(
                """
                insert into raw.optimization_runs (
                    project_id, run_name, optimizer_type, status, config, metadata, final_score_raw, tags, task,
                    created_at
                )
                select
                    case when n % 3 = 0 then 'beta' else 'alpha' end, 'run ' || n,
                    (array['miprov2', 'gepa', 'copro'])[1 + n / 3 % 3],
                    (array['completed', 'failed', 'completed'])[1 + n / 5 % 3],
                    jsonb_build_object(
                        'model_config', jsonb_build_object('model', 'model-' || n % 40),
                        'miprov2', jsonb_build_object('num_candidates', n % 37)
                    ),
                    jsonb_build_object('experiment', n % 211),
                    n % 997 / 1000.0, array['tag-' || n % 101, 'any'], 'task-' || n % 4,
                    timestamptz '2026-01-01Z' + n / 2 * interval '1 minute'
                from generate_series(1, 9000) as n
                """
            )
            owner.execute(
                """
                insert into raw.optimization_iterations (project_id, run_id, iteration, params, score_raw)
                select project_id, id, i, jsonb_build_object('demos', i, 'seed', extract(minute from created_at)), 0.5
                from raw.optimization_runs, generate_series(1, 3) as i where created_at < '2026-01-02Z'
                """
            )
            owner.execute("vacuum analyze raw.optimization_runs, raw.optimization_iterations")
        yield dsn


@pytest.fixture
def ingest(database: str) -> Iterator[psycopg.Connection]:
    with connect(database, role="tracemill_ingest") as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def tenant(database: str) -> Iterator[psycopg.Connection]:
    """An analyst inside project alpha."""
    with connect(database) as owner:
        (token,) = owner.execute("select app.open_session(%s)", [PROJECT]).fetchone()
    with connect(database, role="app_readonly", autocommit=True) as opened:
        opened.execute("select set_config('app.token', %s, false)", [token])
        yield opened


def test_a1_a_member_of_one_project_sees_nothing_of_another(ingest, tenant):
    for table in TABLES[:2]:
        assert tenant.execute(f"select distinct project_id from raw.{table}").fetchall() == [(PROJECT,)]
    (theirs,) = ingest.execute("select id from raw.optimization_runs where project_id = 'beta' limit 1").fetchone()
    assert tenant.execute("select * from app.get_optimization_run_summary(%s)", [theirs]).fetchall() == []
    assert tenant.execute("select * from app.get_top_runs_by_score('beta')").fetchall() == []
    assert len(tenant.execute("select * from app.get_top_runs_by_score('alpha')").fetchall()) == 10


def test_a2_no_materialized_view_can_be_read_past_row_level_security(ingest):
    assert ingest.execute("select oid::regclass from pg_class where relkind = 'm'").fetchall() == []


def test_a4_statistics_of_indexes_are_found_by_the_names_the_catalogue_has(ingest):
    names = ingest.execute(
        "select indexrelname from pg_stat_user_indexes where relname like 'optimization%' order by idx_scan"
    ).fetchall()
    assert {"optimization_runs_by_status", "optimization_runs_tags", "optimization_iterations_params"} <= {
        name for (name,) in names
    }


def test_a24_pages_follow_a_key_and_give_every_run_once(ingest, tenant):
    seen: list[UUID] = []
    last: tuple[Any, Any] = ("infinity", UUID(int=2**128 - 1))
    query = """
        select created_at, id from raw.optimization_runs
        where project_id = 'alpha' and (created_at, id) < (%s, %s) order by created_at desc, id desc limit 500
    """
    while page := tenant.execute(query, last).fetchall():
        seen += [identifier for _, identifier in page]
        last = page[-1]
    everything = ingest.execute("select id from raw.optimization_runs where project_id = 'alpha'").fetchall()
    assert len(seen) == len(set(seen)) == len(everything) == 6000


def test_a25_leaderboard_compares_full_scores_of_one_task_metric_and_dataset(ingest):
    board = {"status": "completed", "task": "qa", "config": {"metric": "f1"}, "dataset_hash": "d1"}
    best = add_run(ingest, **board, final_score_raw=80)
    second = add_run(ingest, **board, final_score_raw=70)
    add_run(ingest, **board, final_score_raw=100, evaluation_kind="minibatch")
    add_run(ingest, **{**board, "task": "sql"}, final_score_raw=95)
    add_run(ingest, **{**board, "config": {"metric": "recall"}}, final_score_raw=96)
    add_run(ingest, **{**board, "dataset_hash": "d2"}, final_score_raw=97)
    add_run(ingest, **{**board, "status": "running"}, final_score_raw=98)
    add_run(ingest, **{**board, "project_id": "beta"}, final_score_raw=99)
    rows = ingest.execute("select id from app.get_top_runs_by_score('alpha', 10, 'qa', 'f1', 'd1')").fetchall()
    assert rows == [(best,), (second,)]
    assert len(ingest.execute("select * from app.get_top_runs_by_score('alpha', 3)").fetchall()) == 3


def test_summary_of_a_run_tells_when_its_cost_is_a_lower_bound(ingest):
    run = add_run(ingest, final_score_raw=90, initial_score_raw=45, status="completed")
    add_iterations(ingest, run, Iteration(1, 45, cost=Decimal(1)), Iteration(2, 90, cost=Decimal(2)))
    insert(ingest, "optimization_samples", [sample_row(run, 1, n, is_correct=n < 2) for n in range(5)])

    def summary() -> dict[str, Any]:
        cursor = ingest.execute("select * from app.get_optimization_run_summary(%s)", [run])
        (row,) = cursor.fetchall()
        return dict(zip([column.name for column in cursor.description], row, strict=True))

    assert summary().items() >= {
        "project_id": PROJECT, "status": "completed", "final_score": Decimal("0.9"), "best_iteration": 2,
        "improvement": Decimal("0.45"), "improvement_pct": 100, "iterations": 2, "samples_recorded": 5,
        "samples_correct": 2, "total_cost_usd": 3, "is_cost_complete": True, "score_scale": "[0,100]",
    }.items()  # fmt: skip
    add_iterations(ingest, run, Iteration(3, 10))
    assert summary().items() >= {"total_cost_usd": 3, "is_cost_complete": False}.items()


def plan(connection: psycopg.Connection, query: str) -> list[dict[str, Any]]:
    """All nodes of the query's plan."""
    ((document,),) = connection.execute(f"explain (format json) {query}").fetchall()
    nodes = [(document if isinstance(document, list) else json.loads(document))[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("status = 'failed' order by created_at desc limit 20", "optimization_runs_by_status"),
        ("optimizer_type = 'gepa' order by created_at desc limit 20", "optimization_runs_by_optimizer"),
        ("true order by created_at desc limit 20", "optimization_runs_by_time"),
        (
            "(created_at, id) < ('2026-01-02Z', gen_random_uuid()) order by created_at desc, id desc limit 20",
            "optimization_runs_by_time",
        ),
        ("run_name = 'run 17'", "optimization_runs_by_name"),
        ("model = 'model-7' order by created_at desc limit 20", "optimization_runs_by_model"),
        ("status = 'completed' order by final_score desc nulls last limit 10", "optimization_runs_performance"),
        ("tags @> array['tag-7'] order by created_at desc", "optimization_runs_tags"),
        (
            """config @> '{"model_config": {"model": "model-7"}, "miprov2": {"num_candidates": 10}}'""",
            "optimization_runs_config",
        ),
        ("""metadata @> '{"experiment": 7}'""", "optimization_runs_metadata"),
    ],
)
def test_a5_a26_documented_queries_use_their_index_under_row_level_security(tenant, condition, index):
    nodes = plan(tenant, f"select * from raw.optimization_runs where project_id = 'alpha' and {condition}")
    assert index in [node.get("Index Name") for node in nodes]
    if "limit" in condition:
        assert "Sort" not in [node["Node Type"] for node in nodes], "rows come in the index's order"


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "select * from raw.optimization_iterations where run_id = '{run}' order by iteration",
            "optimization_iterations_pkey",
        ),
        (
            "select * from raw.optimization_iterations where run_id = '{run}' and is_best = true",
            "optimization_iterations_best",
        ),
        (
            """select * from raw.optimization_iterations
            where project_id = 'alpha' and params @> '{{"demos": 2, "seed": 31}}'""",
            "optimization_iterations_params",
        ),
        (
            """select * from raw.optimization_samples
            where run_id = '{run}' and iteration = 1 order by sample_index limit 100""",
            "optimization_samples_pkey",
        ),
    ],
)
def test_a5_iterations_and_samples_are_found_by_index_under_row_level_security(tenant, query, index):
    nodes = plan(tenant, query.format(run=uuid4()))
    assert index in [node.get("Index Name") for node in nodes]


def test_condition_that_calls_an_unmarked_function_is_not_given_rows_of_others(database, tenant):
    """Containment is marked leakproof; what its arguments call is not."""
    seen: list[str] = []
    tenant.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
    tenant.execute(
        """
        create function pg_temp.leak(project text, tags text[]) returns text[] language plpgsql cost 0.0001 as
        $$ begin raise notice '%', project; return tags; end $$
        """
    )
    found = tenant.execute(
        "select count(*) from raw.optimization_runs where pg_temp.leak(project_id, tags) @> array['tag-7']"
    ).fetchone()
    assert found[0] > 0
    assert set(seen) == {PROJECT}
