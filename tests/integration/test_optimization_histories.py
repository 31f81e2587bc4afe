"""Random histories of runs with several writers: after each step statistics and best are those of a count in Python."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pipelines.database import connect
from tests.optimization import PROJECT, Iteration, add_run, expected, iteration_row, register, stored

_RUNS = 2
_WRITERS = 2
"""Of each run at once: of more, those that wait would go on in an order that nobody can tell."""
_WAIT_SECONDS = 60
_COLUMNS = ", ".join(iteration_row(UUID(int=0), Iteration(0)))
_VALUES = ", ".join(f"%({name})s" for name in iteration_row(UUID(int=0), Iteration(0)))
_STATEMENTS = {
    "insert": f"insert into raw.optimization_iterations ({_COLUMNS}) values ({_VALUES}) on conflict do nothing",
    "upsert": f"""
        insert into raw.optimization_iterations ({_COLUMNS}) values ({_VALUES})
        on conflict (project_id, run_id, iteration) do update set
            evaluation_kind = excluded.evaluation_kind, score_raw = excluded.score_raw,
            iteration_end_time = excluded.iteration_end_time, tokens_used = excluded.tokens_used,
            cost_usd = excluded.cost_usd
    """,
    "delete": "delete from raw.optimization_iterations where run_id = %(run_id)s and iteration = %(iteration)s",
}


@dataclass(frozen=True)
class Step:
    """One statement of one writer, about one iteration."""

    verb: str
    row: Iteration
    is_undone: bool

    def applied_to(self, rows: dict[int, Iteration], seen: dict[int, Iteration]) -> dict[int, Iteration]:
        """What the run has afterwards; ``seen`` is what was committed when the statement began."""
        if self.is_undone or (self.verb == "delete" and self.row.number not in seen):
            return rows
        others = {number: row for number, row in rows.items() if number != self.row.number}
        match self.verb:
            case "delete":
                return others
            case "insert":
                return {self.row.number: self.row, **rows}
            case _:
                return {**others, self.row.number: self.row}


_ROWS = st.builds(
    Iteration,
    number=st.integers(0, 5),
    score=st.none() | st.integers(0, 4).map(lambda n: n * 10),
    kind=st.sampled_from(["full", "minibatch"]),
    duration_ms=st.none() | st.integers(0, 5000),
    tokens=st.none() | st.integers(0, 10**10),
    cost=st.none() | st.decimals(0, 1000, places=8),
)
_STEPS = st.builds(
    Step,
    verb=st.sampled_from(sorted(_STATEMENTS)),
    row=_ROWS,
    is_undone=st.integers(0, 4).map(lambda n: n == 0),
)


class Writer(threading.Thread):
    """Holds one open transaction with one statement, which may have to wait for another writer's."""

    def __init__(self, connection: psycopg.Connection, run: UUID, step: Step) -> None:
        super().__init__()
        self.connection, self.run_id, self.step = connection, run, step
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.connection.execute(_STATEMENTS[self.step.verb], iteration_row(self.run_id, self.step.row))
        except Exception as error:
            self.error = error

    def end(self) -> None:
        """Waits for the statement, then for the end of its transaction."""
        self.join(timeout=_WAIT_SECONDS)
        assert not self.is_alive(), "nobody is left to wait for"
        if self.error is not None:
            raise self.error
        if self.step.is_undone:
            self.connection.rollback()
        else:
            self.connection.commit()


class Histories(RuleBasedStateMachine):
    """Writers of two runs, whose transactions overlap."""

    def __init__(self, connections: list[psycopg.Connection]) -> None:
        super().__init__()
        *self.connections, self.observer = connections
        self.runs = [add_run(self.observer) for _ in range(_RUNS)]
        self.written: list[dict[int, Iteration]] = [{} for _ in self.runs]

    def teardown(self) -> None:
        for connection in self.connections:
            connection.rollback()
        self.observer.execute("delete from raw.optimization_runs where id = any(%s)", [self.runs])

    @rule(steps=st.tuples(*[st.lists(_STEPS, max_size=_WRITERS)] * _RUNS))
    def write_at_once(self, steps: tuple[list[Step], ...]) -> None:
        """Each statement begins while the transaction of the one before it is open; the first to write ends first."""
        free = iter(self.connections)
        writers = [
            [Writer(next(free), run, step) for step in planned] for run, planned in zip(self.runs, steps, strict=True)
        ]
        for writer in itertools.chain(*writers):
            writer.start()
            self._wait_until_blocked(writer)
        for number, seen in enumerate(self.written):
            for writer in writers[number]:
                writer.end()
                self.written[number] = writer.step.applied_to(self.written[number], seen)

    def _wait_until_blocked(self, writer: Writer) -> None:
        """Until the statement is done or waits for a lock: its place among the others is then certain."""
        blocked = "select cardinality(pg_blocking_pids(%s)) > 0"
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            writer.join(timeout=0.001)
            if (
                not writer.is_alive()
                or self.observer.execute(blocked, [writer.connection.info.backend_pid]).fetchone()[0]
            ):
                return
        raise AssertionError("the statement neither ended nor waited")

    @invariant()
    def statistics_are_those_of_a_count(self) -> None:
        for run, rows in zip(self.runs, self.written, strict=True):
            assert stored(self.observer, run) == expected(rows.values())


@pytest.fixture(scope="module")
def connections(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[list[psycopg.Connection]]:
    """Writers with ingest's rights, and an observer."""
    with migrated_database() as dsn, ExitStack() as stack:
        observer = stack.enter_context(connect(dsn, autocommit=True))
        register(observer, PROJECT)
        yield [
            *(stack.enter_context(connect(dsn, role="tracemill_ingest")) for _ in range(_RUNS * _WRITERS)),
            observer,
        ]


def _explore(connections: list[psycopg.Connection], histories: int) -> None:
    run_state_machine_as_test(
        lambda: Histories(connections),
        settings=settings(
            max_examples=histories, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_random_writers_at_once_never_leave_statistics_or_best_wrong(connections):
    _explore(connections, 25)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_hundred_histories_of_writers_at_once_never_leave_statistics_or_best_wrong(connections):
    _explore(connections, 500)
