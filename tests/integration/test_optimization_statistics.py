"""Statistics and best iteration of a run follow its iterations, whatever is done to them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pipelines.database import connect
from tests.optimization import (
    PROJECT,
    Iteration,
    add_iterations,
    add_run,
    expected,
    insert,
    iteration_row,
    register,
    stored,
)


@pytest.fixture(scope="module")
def database(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with migrated_database() as dsn:
        with connect(dsn) as owner:
            register(owner, PROJECT, "beta")
        yield dsn


@pytest.fixture
def ingest(database: str) -> Iterator[psycopg.Connection]:
    """Ingest's rights, undone after the test."""
    with connect(database, role="tracemill_ingest") as opened:
        yield opened
        opened.rollback()


def test_best_is_the_highest_full_score_and_the_earliest_of_equals(ingest):
    run = add_run(ingest)
    rows = [Iteration(4, 90), Iteration(2, 90), Iteration(1, 100, "minibatch"), Iteration(3, None), Iteration(5, 80)]
    add_iterations(ingest, run, *rows)
    assert stored(ingest, run) == expected(rows)
    assert stored(ingest, run).flagged == (2,)


def test_minibatch_is_best_only_until_a_full_evaluation_has_a_score(ingest):
    run = add_run(ingest)
    add_iterations(ingest, run, Iteration(1, 100, "minibatch"), Iteration(2, None))
    assert stored(ingest, run).best_kind == "minibatch"
    add_iterations(ingest, run, Iteration(3, 0))
    assert (stored(ingest, run).best_kind, stored(ingest, run).flagged) == ("full", (3,))


def test_lowest_score_is_best_where_the_direction_is_minimize(ingest):
    run = add_run(ingest, score_direction="minimize")
    add_iterations(ingest, run, Iteration(1, 30), Iteration(2, 20), direction="minimize")
    add_iterations(ingest, run, Iteration(3, 25), Iteration(0, 20), direction="minimize")
    assert stored(ingest, run).flagged == (0,)
    ingest.execute("update raw.optimization_runs set score_direction = 'maximize' where id = %s", [run])
    assert stored(ingest, run).flagged == (1,), "the direction is its iterations' too"


def test_no_score_means_no_best(ingest):
    run = add_run(ingest)
    add_iterations(ingest, run, Iteration(0), Iteration(1))
    assert stored(ingest, run) == expected([Iteration(0), Iteration(1)])
    assert stored(ingest, run).best_iteration is None


def test_iteration_written_again_counts_once(ingest):
    run = add_run(ingest)
    for score in (50, 70, 70, 60):
        ingest.execute(
            """
            insert into raw.optimization_iterations (project_id, run_id, iteration, score_raw, score_scale, tokens_used)
            values (%(project)s, %(run)s, 1, %(score)s, '[0,100]', 10), (%(project)s, %(run)s, 2, 65, '[0,100]', 5)
            on conflict (project_id, run_id, iteration) do update set score_raw = excluded.score_raw
            """,
            {"project": PROJECT, "run": run, "score": score},
        )
        assert stored(ingest, run) == expected([Iteration(1, score, tokens=10), Iteration(2, 65, tokens=5)])


def test_best_of_one_run_can_move_to_another_that_has_a_better_one(ingest):
    first, second = add_run(ingest), add_run(ingest)
    add_iterations(ingest, first, Iteration(1, 70), Iteration(2, 60))
    add_iterations(ingest, second, Iteration(3, 80))
    ingest.execute(
        "update raw.optimization_iterations set run_id = %s where run_id = %s and iteration = 1", [second, first]
    )
    assert stored(ingest, first) == expected([Iteration(2, 60)])
    assert stored(ingest, second) == expected([Iteration(1, 70), Iteration(3, 80)])


def test_statement_over_many_runs_and_projects_keeps_each_right(ingest):
    rows = {add_run(ingest): [Iteration(n, (n * 37 + k) % 101) for n in range(k % 5)] for k in range(40)}
    other = add_run(ingest, project_id="beta")
    insert(ingest, "optimization_iterations", [iteration_row(run, row) for run, all_ in rows.items() for row in all_])
    for run, written in rows.items():
        assert stored(ingest, run) == expected(written)
    assert stored(ingest, other, "beta") == expected([])
    ingest.execute("update raw.optimization_iterations set score_raw = 100 - score_raw where iteration > 0")
    for run, written in rows.items():
        assert stored(ingest, run) == expected(
            [replace(row, score=100 - row.score) if row.number else row for row in written]
        )


def test_emptied_table_leaves_runs_without_iterations(database):
    with connect(database) as owner:
        run = add_run(owner)
        add_iterations(owner, run, Iteration(1, 50, tokens=3))
        owner.execute("truncate raw.optimization_iterations, raw.optimization_samples")
        assert stored(owner, run) == expected([])
        owner.rollback()


def test_a13_a_statement_updates_its_run_once_however_many_iterations_it_writes(ingest):
    run = add_run(ingest)

    def updated_rows() -> list[int]:
        tables = ["raw.optimization_runs", "raw.optimization_iterations"]
        query = "select n_tup_upd from pg_stat_xact_user_tables where relid = %s::regclass"
        return [ingest.execute(query, [table]).fetchone()[0] for table in tables]

    before = updated_rows()
    ingest.execute(
        """
        insert into raw.optimization_iterations (project_id, run_id, iteration, score_raw, score_scale)
        select 'alpha', %s, n, n %% 90, '[0,100]' from generate_series(1, 3000) as n
        """,
        [run],
    )
    runs, iterations = (late - early for late, early in zip(updated_rows(), before, strict=True))
    assert (runs, iterations) == (1, 1), "the run once, and its best once to be flagged"
    assert (stored(ingest, run).iterations, stored(ingest, run).flagged) == (3000, (89,))


def test_a14_bulk_loads_need_no_switched_off_triggers_and_may_not_switch_them_off(ingest):
    run = add_run(ingest)
    written = [Iteration(n, n % 50, tokens=2) for n in range(500)]
    rows = [iteration_row(run, row) for row in written]
    columns = ", ".join(rows[0])
    ingest.execute("create temporary table arrived (like raw.optimization_iterations including defaults)")
    with ingest.cursor().copy(f"copy arrived ({columns}) from stdin") as copy:
        for row in rows:
            copy.write_row(list(row.values()))
    ingest.execute(f"insert into raw.optimization_iterations ({columns}) select {columns} from arrived")
    assert stored(ingest, run) == expected(written)
    for attempt in (
        "alter table raw.optimization_iterations disable trigger optimization_iterations_inserted",
        "set session_replication_role = replica",
        "truncate raw.optimization_iterations",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), ingest.transaction():
            ingest.execute(attempt)


class Runs(RuleBasedStateMachine):
    """Random writes to three runs; after each the statistics must be those of a count in Python."""

    numbers = st.integers(0, 12)
    iterations = st.builds(
        Iteration,
        number=numbers,
        score=st.none() | st.integers(0, 6).map(lambda n: n * 10),
        kind=st.sampled_from(["full", "minibatch"]),
        duration_ms=st.none() | st.integers(0, 5000),
        tokens=st.none() | st.integers(0, 10**10),
        cost=st.none() | st.decimals(0, 1000, places=8),
    )
    index = st.integers(0, 2)

    def __init__(self, connection: psycopg.Connection) -> None:
        super().__init__()
        self.connection = connection
        self.directions = ["maximize", "minimize", "maximize"]
        self.runs: list[UUID] = [add_run(connection, score_direction=direction) for direction in self.directions]
        self.written: list[dict[int, Iteration]] = [{}, {}, {}]

    def teardown(self) -> None:
        self.connection.rollback()

    @rule(index=index, rows=st.lists(iterations, min_size=1, max_size=5, unique_by=lambda row: row.number))
    def insert_or_replace(self, index: int, rows: list[Iteration]) -> None:
        """New numbers are added and known ones replaced, in one statement of each kind."""
        new = [row for row in rows if row.number not in self.written[index]]
        if new:
            add_iterations(self.connection, self.runs[index], *new, direction=self.directions[index])
        for row in rows:
            if row not in new:
                fields = iteration_row(self.runs[index], row)
                self.connection.execute(
                    """
                    update raw.optimization_iterations
                    set evaluation_kind = %(evaluation_kind)s, score_raw = %(score_raw)s, tokens_used = %(tokens_used)s,
                        iteration_end_time = %(iteration_end_time)s, cost_usd = %(cost_usd)s
                    where run_id = %(run_id)s and iteration = %(iteration)s
                    """,
                    fields,
                )
            self.written[index][row.number] = row

    @rule(index=index, low=numbers, high=numbers)
    def delete(self, index: int, low: int, high: int) -> None:
        self.connection.execute(
            "delete from raw.optimization_iterations where run_id = %s and iteration between %s and %s",
            [self.runs[index], low, high],
        )
        self.written[index] = {n: row for n, row in self.written[index].items() if not low <= n <= high}

    @rule(low=numbers)
    def change_all_runs_at_once(self, low: int) -> None:
        self.connection.execute(
            """
            update raw.optimization_iterations set score_raw = 60 - score_raw, tokens_used = null
            where iteration >= %s and run_id = any(%s)
            """,
            [low, self.runs],
        )
        for rows in self.written:
            for number, row in rows.items():
                if number >= low:
                    flipped = None if row.score is None else 60 - row.score
                    rows[number] = replace(row, score=flipped, tokens=None)

    @precondition(lambda self: self.directions[0] == self.directions[2])
    @rule(number=numbers)
    def move_to_another_run(self, number: int) -> None:
        if number in self.written[0] and number not in self.written[2]:
            self.connection.execute(
                "update raw.optimization_iterations set run_id = %s where run_id = %s and iteration = %s",
                [self.runs[2], self.runs[0], number],
            )
            self.written[2][number] = self.written[0].pop(number)

    @rule(index=index)
    def turn_the_direction(self, index: int) -> None:
        self.directions[index] = "minimize" if self.directions[index] == "maximize" else "maximize"
        self.connection.execute(
            "update raw.optimization_runs set score_direction = %s where id = %s",
            [self.directions[index], self.runs[index]],
        )

    @rule(index=index)
    def delete_the_run_and_begin_another(self, index: int) -> None:
        self.connection.execute("delete from raw.optimization_runs where id = %s", [self.runs[index]])
        self.runs[index] = add_run(self.connection, score_direction=self.directions[index])
        self.written[index] = {}

    @invariant()
    def statistics_are_those_of_a_count(self) -> None:
        for run, rows, direction in zip(self.runs, self.written, self.directions, strict=True):
            assert stored(self.connection, run) == expected(rows.values(), direction)


def _explore(ingest: psycopg.Connection, runs: int) -> None:
    run_state_machine_as_test(
        lambda: Runs(ingest),
        settings=settings(
            max_examples=runs, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_random_writes_never_leave_statistics_wrong(ingest):
    _explore(ingest, 40)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_hundred_random_histories_never_leave_statistics_wrong(ingest):
    _explore(ingest, 500)


def test_recounting_by_hand_finds_what_the_triggers_kept(database):
    with connect(database) as owner:
        run = add_run(owner)
        rows = [Iteration(n, n * 13 % 101, duration_ms=n, tokens=n, cost=Decimal(n)) for n in range(50)]
        for row in rows:
            add_iterations(owner, run, row)
        kept = stored(owner, run)
        owner.execute("select ops.recompute_optimization_statistics(%s, %s)", [[PROJECT], [run]])
        assert stored(owner, run) == kept == expected(rows)
        owner.rollback()


def test_unknown_run_is_refused_and_changes_nothing(ingest):
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        add_iterations(ingest, uuid4(), Iteration(1, 50))
