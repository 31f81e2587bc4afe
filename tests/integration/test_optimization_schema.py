"""Each known flaw of the published optimization schema, by its number, and what must hold instead."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from pipelines.database import connect, migrations
from tests.optimization import PROJECT, Iteration, add_iterations, add_run, insert, iteration_row, register, sample_row

TABLES = ("optimization_runs", "optimization_iterations", "optimization_samples")
TENANT_ROLES = ("service_role", "authenticated", "app_user", "app_admin", "app_readonly")
PLATFORM_ROLES = ("tracemill_owner", "tracemill_ingest", "tracemill_dbt", "tracemill_maintenance")
FILES = ("0007_create_optimization_tables", "0008_create_optimization_functions")


@pytest.fixture(scope="module")
def database(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with migrated_database() as dsn:
        with connect(dsn) as owner:
            register(owner, PROJECT, "beta")
        yield dsn


@pytest.fixture
def ingest(database: str) -> Iterator[psycopg.Connection]:
    with connect(database, role="tracemill_ingest") as opened:
        yield opened
        opened.rollback()


def value(connection: psycopg.Connection, run: UUID, columns: str) -> Any:
    row = connection.execute(f"select {columns} from raw.optimization_runs where id = %s", [run]).fetchone()
    return row[0] if len(row) == 1 else row


@pytest.mark.parametrize(
    ("config", "model", "metric", "optimizer"),
    [
        (
            {"optimizer": "MIPROv2", "metric": "f1", "model_config": {"model": "m-1"}, "miprov2": {"metric": "other"}},
            "m-1",
            "f1",
            "MIPROv2",
        ),
        ({"miprov2": {"metric": "f1", "task_model": "m-2"}}, "m-2", "f1", "miprov2"),
        ({"model": "m-3"}, "m-3", None, "miprov2"),
        ({}, None, None, "miprov2"),
    ],
)
def test_a6_model_metric_and_optimizer_are_columns_wherever_the_configuration_names_them(
    ingest, config, model, metric, optimizer
):
    run = add_run(ingest, config=config)
    assert value(ingest, run, "model, metric, optimizer") == (model, metric, optimizer)


def test_a7_keys_begin_with_the_project_and_a_project_needs_no_partition(ingest):
    keys = ingest.execute(
        """
        select c.conname, a.attname
        from pg_constraint as c join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
        where c.conrelid = any(%s::regclass[]) and c.contype in ('p', 'u', 'f')
        """,
        [[f"raw.{table}" for table in TABLES]],
    ).fetchall()
    assert len(keys) == 10
    assert {column for _, column in keys} == {"project_id"}
    shared = uuid4()
    for project in (PROJECT, "beta"):
        add_run(ingest, id=shared, project_id=project)


@pytest.mark.parametrize(
    ("end", "milliseconds"),
    [
        ("00:00:00.4", 400),
        ("00:00:00.6", 600),
        ("00:00:00.0006", 1),
        ("40 days", 3_456_000_000),
        ("73000 days", 6_307_200_000_000),
        (None, None),
    ],
)
def test_a8_durations_keep_milliseconds_and_do_not_overflow(ingest, end, milliseconds):
    run = add_run(ingest, start_time="2020-01-01Z")
    ingest.execute("update raw.optimization_runs set end_time = start_time + %s::interval where id = %s", [end, run])
    assert value(ingest, run, "duration_ms") == milliseconds


@pytest.mark.parametrize(
    ("columns", "improvement", "percent", "gain"),
    [
        ({"initial_score_raw": "0.0005", "final_score_raw": "0.9"}, "0.8995", 179900, "0.9"),
        ({"initial_score_raw": 0, "final_score_raw": "0.9"}, "0.9", None, "0.9"),
        ({"initial_score_raw": 1, "final_score_raw": "0.5"}, "-0.5", -50, None),
        ({"initial_score_raw": 50, "final_score_raw": 75, "score_scale": "[0,100]"}, "0.25", 50, "0.5"),
        (
            {"initial_score_raw": "0.4", "final_score_raw": "0.1", "score_direction": "minimize"},
            "0.3",
            75,
            "0.75",
        ),
        ({"initial_score_raw": -200, "final_score_raw": -100, "score_scale": "(,)"}, None, 50, None),
        ({"final_score_raw": "0.5"}, None, None, None),
    ],
)
def test_a9_improvement_has_no_bound_and_is_no_percentage_of_nothing(ingest, columns, improvement, percent, gain):
    run = add_run(ingest, **{"score_scale": "[0,1]", **columns})
    found = value(ingest, run, "improvement, improvement_pct, normalised_gain")
    wanted = [None if number is None else Decimal(number) for number in (improvement, percent, gain)]
    assert [number is None for number in found] == [number is None for number in wanted]
    assert [number for number in found if number is not None] == pytest.approx(
        [number for number in wanted if number is not None], abs=Decimal("0.001")
    )


@pytest.mark.parametrize(
    ("raw", "scale", "direction", "normalised"),
    [
        ("62.5", "[0,100]", "maximize", "0.625"),
        ("3", "[1,5]", "maximize", "0.5"),
        ("0", "[0,1]", "maximize", "0"),
        ("0.1", "[0,1]", "minimize", "0.9"),
        ("-380180", "(,)", "maximize", None),
        ("7", "[0,)", "maximize", None),
        ("130", "[0,100]", "maximize", None),
        (None, "[0,100]", "maximize", None),
    ],
)
def test_a10_scores_keep_their_scale_and_are_normalised_where_it_allows(ingest, raw, scale, direction, normalised):
    run = add_run(ingest, final_score_raw=raw, score_scale=scale, score_direction=direction)
    kept, score = value(ingest, run, "final_score_raw, final_score")
    assert kept == (raw and Decimal(raw))
    assert score == (normalised and Decimal(normalised))


@pytest.mark.parametrize("scale", ["empty", "[1,1]", "[0,Infinity]", "[-Infinity,0]"])
def test_a10_scale_without_a_width_is_refused(ingest, scale):
    with pytest.raises(psycopg.errors.CheckViolation):
        add_run(ingest, score_scale=scale)


@pytest.mark.parametrize("score", ["NaN", "Infinity", "-Infinity"])
def test_a10_score_that_is_no_number_is_refused(ingest, score):
    with pytest.raises(psycopg.errors.CheckViolation):
        add_run(ingest, final_score_raw=score)


def test_a10_iterations_are_scored_as_their_run_is(ingest):
    run = add_run(ingest, score_scale="[0,1]")
    with pytest.raises(psycopg.errors.ForeignKeyViolation), ingest.transaction():
        add_iterations(ingest, run, Iteration(1, 90))
    ingest.execute("update raw.optimization_runs set score_scale = '[0,100]' where id = %s", [run])
    add_iterations(ingest, run, Iteration(1, 90))
    ingest.execute("update raw.optimization_runs set score_scale = '[0,200]' where id = %s", [run])
    found = ingest.execute("select score from raw.optimization_iterations where run_id = %s", [run]).fetchone()
    assert found == (Decimal("0.45"),)
    assert value(ingest, run, "best_score") == Decimal("0.45")


def test_a11_tokens_and_costs_beyond_32_bits_add_up_exactly(ingest):
    run = add_run(ingest)
    cost = Decimal("12345.678901234")
    add_iterations(ingest, run, *(Iteration(n, 1, tokens=3_000_000_000, cost=cost) for n in range(3)))
    assert value(ingest, run, "total_tokens, total_cost_usd") == (9_000_000_000, 3 * cost)


def test_a12_iterations_are_counted_not_read_off_the_highest_number(ingest):
    run = add_run(ingest)
    add_iterations(ingest, run, Iteration(0))
    assert value(ingest, run, "iterations") == 1
    add_iterations(ingest, run, Iteration(7), Iteration(90))
    assert value(ingest, run, "iterations") == 3


def test_a15_equal_scores_leave_one_best_the_earliest(ingest):
    run = add_run(ingest)
    for number in (5, 3, 4):
        add_iterations(ingest, run, Iteration(number, 80))
    best = ingest.execute("select iteration from raw.optimization_iterations where run_id = %s and is_best", [run])
    assert best.fetchall() == [(3,)]
    assert value(ingest, run, "best_iteration") == 3


def test_a16_deleting_and_moving_iterations_is_felt_by_both_runs(ingest):
    first, second = add_run(ingest), add_run(ingest)
    add_iterations(ingest, first, Iteration(1, 60), Iteration(2, 50))
    insert(ingest, "optimization_samples", [sample_row(first, 1, 0)])
    ingest.execute(
        "update raw.optimization_iterations set run_id = %s where run_id = %s and iteration = 1", [second, first]
    )
    assert [value(ingest, run, "iterations, best_score_raw") for run in (first, second)] == [(1, 50), (1, 60)]
    moved = ingest.execute("select run_id from raw.optimization_samples where iteration = 1 and project_id = 'alpha'")
    assert moved.fetchall() == [(second,)], "its samples go with it"
    ingest.execute("delete from raw.optimization_iterations where run_id = %s", [second])
    assert value(ingest, second, "iterations, best_score_raw, best_iteration") == (0, None, None)


def test_a17_what_is_counted_and_what_is_reported_have_one_writer_each(ingest):
    run = add_run(ingest, avg_latency_ms=900, reported_tokens=100, reported_iterations=12, reported_best_score_raw=70)
    assert value(ingest, run, "best_score, total_tokens, total_cost_usd") == (Decimal("0.7"), 100, None)
    add_iterations(ingest, run, Iteration(1, 60, duration_ms=400, tokens=300, cost=Decimal("0.5")))
    assert value(ingest, run, "avg_latency_ms, avg_iteration_ms, total_tokens, reported_tokens, best_score") == (
        900,
        400,
        300,
        100,
        Decimal("0.6"),
    )
    refused = ingest.execute(
        """
        select a.attname from pg_attribute as a
        where a.attrelid = any(%s::regclass[]) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
            and not has_column_privilege('tracemill_ingest', a.attrelid, a.attnum, 'insert')
            and not has_column_privilege('tracemill_ingest', a.attrelid, a.attnum, 'update')
        """,
        [[f"raw.{table}" for table in TABLES]],
    )
    assert {name for (name,) in refused} == {
        "is_best", "iterations", "full_evaluations", "best_iteration", "best_evaluation_kind", "best_score_raw",
        "timed_iterations", "iteration_ms", "iteration_tokens", "unpriced_iterations", "iteration_cost_usd",
        "updated_at",
    }  # fmt: skip
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ingest.execute("update raw.optimization_runs set iterations = 99 where id = %s", [run])


def test_a18_sample_belongs_to_an_iteration_of_its_own_run(ingest):
    first, second = add_run(ingest), add_run(ingest)
    add_iterations(ingest, first, Iteration(1, 60))
    insert(ingest, "optimization_samples", [sample_row(first, 1, n, score_raw="0.5") for n in range(3)])
    with pytest.raises(psycopg.errors.ForeignKeyViolation), ingest.transaction():
        insert(ingest, "optimization_samples", [sample_row(second, 1, 0)])
    with pytest.raises(psycopg.errors.ForeignKeyViolation), ingest.transaction():
        insert(ingest, "optimization_samples", [{**sample_row(first, 1, 9), "project_id": "beta"}])
    with pytest.raises(psycopg.errors.UniqueViolation), ingest.transaction():
        insert(ingest, "optimization_samples", [sample_row(first, 1, 2)])
    ingest.execute("delete from raw.optimization_runs where id = %s", [first])
    for table in TABLES[1:]:
        left = ingest.execute(f"select count(*) from raw.{table} where run_id = %s", [first]).fetchone()
        assert left == (0,), "a run takes its iterations and samples with it"


def test_a19_no_index_is_there_twice(ingest):
    doubles = ingest.execute(
        """
        select array_agg(indexrelid::regclass)
        from pg_index where indrelid = any(%s::regclass[])
        group by indrelid, indkey, indclass, indoption, pg_get_expr(indpred, indrelid) having count(*) > 1
        """,
        [[f"raw.{table}" for table in TABLES]],
    ).fetchall()
    assert doubles == []


def test_a21_run_needs_no_more_than_project_name_optimizer_and_configuration(ingest):
    ingest.execute("set local search_path = marts, monitoring, raw, app, public")
    status, key = ingest.execute(
        """
        INSERT INTO optimization_runs (project_id, run_name, optimizer_type, config)
        VALUES ('alpha', 'test_run', 'miprov2', '{"optimizer": "miprov2"}'::jsonb) returning status, source_key
        """
    ).fetchone()
    assert status == "pending"
    assert key


def test_a22_run_may_end_without_saying_when_or_how_well(ingest):
    run = add_run(ingest, status="completed", start_time="2026-01-01Z")
    assert value(ingest, run, "duration_ms, final_score") == (None, None)


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "done"},
        {"status": None},
        {"start_time": "2026-01-02Z", "end_time": "2026-01-01Z"},
        {"start_time": "-infinity"},
        {"samples_evaluated": 5, "successful_samples": 4, "failed_samples": 2},
        {"successful_samples": 4},
        {"samples_evaluated": -1},
        {"reported_tokens": -1},
        {"reported_cost_usd": "NaN"},
        {"run_name": ""},
        {"optimizer_type": "MIPRO v2"},
        {"score_direction": "up"},
        {"tags": ["a", None]},
        {"config": Jsonb([])},
        {"project_id": "unregistered"},
    ],
)
def test_run_that_contradicts_itself_is_refused(ingest, columns):
    with pytest.raises(psycopg.errors.IntegrityError):
        add_run(ingest, **columns)


@pytest.mark.parametrize(
    "columns",
    [
        {"iteration": -1},
        {"evaluation_kind": "half"},
        {"parent_iterations": [3]},
        {"parent_iterations": [4]},
        {"parent_iterations": [None]},
        {"samples_in_iteration": 2, "successful_samples": 3},
        {"successful_samples": 3},
        {"tokens_used": -1},
        {"iteration_end_time": "2025-01-01Z"},
    ],
)
def test_iteration_that_contradicts_itself_is_refused(ingest, columns):
    run = add_run(ingest)
    with pytest.raises(psycopg.errors.IntegrityError):
        insert(ingest, "optimization_iterations", [{**iteration_row(run, Iteration(3, 50)), **columns}])


def test_lineage_of_candidates_leads_back_to_the_first(ingest):
    run = add_run(ingest, optimizer_type="gepa")
    parents: dict[int, list[int]] = {0: [], 1: [0], 2: [0], 3: [1, 2], 4: [0]}
    for number, before in parents.items():
        row = {**iteration_row(run, Iteration(number, number)), "parent_iterations": before}
        insert(ingest, "optimization_iterations", [row])
    ancestors = ingest.execute(
        """
        with recursive line as (
            select iteration, parent_iterations
            from raw.optimization_iterations where run_id = %(run)s and iteration = 3
            union
            select i.iteration, i.parent_iterations
            from line join raw.optimization_iterations as i
                on i.run_id = %(run)s and i.iteration = any(line.parent_iterations)
        )
        select array_agg(iteration order by iteration) from line
        """,
        {"run": run},
    ).fetchone()
    assert ancestors == ([0, 1, 2, 3],)


def test_same_run_of_a_source_is_there_once(ingest):
    add_run(ingest, source="dspy", source_key="log-1")
    add_run(ingest, source="optuna", source_key="log-1")
    with pytest.raises(psycopg.errors.UniqueViolation):
        add_run(ingest, source="dspy", source_key="log-1")


def test_changed_run_says_when_it_changed(ingest):
    run = add_run(ingest)
    ingest.execute("select set_config('role', 'none', true)")
    ingest.execute(
        "update raw.optimization_runs set updated_at = '2020-01-01Z', status = 'running' where id = %s", [run]
    )
    assert value(ingest, run, "updated_at = now()") is True


def test_a23_runs_keep_sums_and_counts_from_which_any_mean_follows(ingest):
    runs = [add_run(ingest), add_run(ingest)]
    add_iterations(ingest, runs[0], Iteration(1, duration_ms=1000))
    add_iterations(ingest, runs[1], *(Iteration(n, duration_ms=100) for n in range(9)), Iteration(9))
    mean = ingest.execute(
        "select sum(iteration_ms) / sum(timed_iterations) from raw.optimization_runs where id = any(%s)", [runs]
    ).fetchone()
    assert mean == (190,), "not 550, the mean of the two means"


def test_a27_migrations_are_transactional_repeatable_and_name_no_foreign_roles(connection):
    def catalogue() -> list[Any]:
        return connection.execute(
            """
            select 'policy', tablename, policyname, roles::text, qual from pg_policies where tablename like 'optimi%'
            union all select 'index', tablename, indexname, indexdef, '' from pg_indexes where tablename like 'optimi%'
            union all select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), ''
            from pg_trigger where not tgisinternal
            union all select 'column right', attrelid::regclass::text, attname, attacl::text, ''
            from pg_attribute where attacl is not null and attrelid > 16384
            order by 1, 2, 3
            """
        ).fetchall()

    before = catalogue()
    assert {kind for kind, *_ in before} == {"policy", "index", "trigger", "column right"}
    for path in sorted(migrations.FOLDER.glob("*.sql")):
        if path.stem >= FILES[0]:  # those that came later change what these made
            connection.execute(path.read_bytes())
    assert catalogue() == before
    named = connection.execute("select distinct unnest(roles) from pg_policies where tablename like 'optimi%'")
    assert {role for (role,) in named} == {*PLATFORM_ROLES, *TENANT_ROLES}
