"""Several writers of one run at once: no iteration is lost from its statistics, and nobody waits in a circle."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

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
            register(owner, PROJECT)
        yield dsn


class Writer(threading.Thread):
    """Writes iterations of its own numbers to one run: one by one, in batches, changed and deleted again."""

    def __init__(self, dsn: str, run: UUID, number: int, start: threading.Barrier) -> None:
        super().__init__(name=f"writer-{number}")
        self.dsn, self.run_id, self.number, self.barrier = dsn, run, number, start
        self.written: dict[int, Iteration] = {}
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with connect(self.dsn, role="tracemill_ingest", autocommit=True) as connection:
                self.barrier.wait(timeout=30)
                self._write(connection, random.Random(self.number))
        except Exception as error:
            self.error = error

    def _write(self, connection: psycopg.Connection, chance: random.Random) -> None:
        for step in range(25):
            rows = [self._row(chance, 8 * (step * 3 + n) + self.number) for n in range(chance.choice([1, 1, 3]))]
            add_iterations(connection, self.run_id, *rows)
            self.written |= {row.number: row for row in rows}
            if step % 3 == 2:
                with connection.transaction():
                    connection.execute(
                        "select from raw.optimization_runs where project_id = %s and id = %s for no key update",
                        [PROJECT, self.run_id],
                    )
                    self._change_best(connection)

    def _row(self, chance: random.Random, number: int) -> Iteration:
        kind = chance.choice(["full", "minibatch"])
        return Iteration(number, chance.randrange(0, 101), kind, 7, chance.randrange(1000), Decimal(number) / 1000)

    def _change_best(self, connection: psycopg.Connection) -> None:
        """Own best rows are deleted or lowered: the rows that the other writers' triggers want to flag."""
        mine = sorted(self.written.values(), key=lambda row: (row.kind == "full", row.score), reverse=True)
        best, second = mine[0], mine[1]
        connection.execute(
            "delete from raw.optimization_iterations where run_id = %s and iteration = %s", [self.run_id, best.number]
        )
        connection.execute(
            "update raw.optimization_iterations set score_raw = 1 where run_id = %s and iteration = %s",
            [self.run_id, second.number],
        )
        del self.written[best.number]
        self.written[second.number] = replace(second, score=1)


def test_eight_writers_of_one_run_leave_one_best_and_exact_statistics(database):
    with connect(database, autocommit=True) as owner:
        run = add_run(owner)
        barrier = threading.Barrier(8)
        writers = [Writer(database, run, number, barrier) for number in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(timeout=60)
        assert [writer.error for writer in writers] == [None] * 8, "nobody had to give way"
        written = [row for writer in writers for row in writer.written.values()]
        assert stored(owner, run) == expected(written)
        assert len(stored(owner, run).flagged) == 1


def test_writers_of_the_same_runs_in_opposite_order_do_not_wait_for_each_other_in_a_circle(database):
    with connect(database, autocommit=True) as owner:
        runs = [add_run(owner) for _ in range(6)]
    errors: list[Exception] = []

    def write(writer: int) -> None:
        order = runs if writer % 2 else runs[::-1]
        try:
            with connect(database, role="tracemill_ingest", autocommit=True) as connection:
                for step in range(15):
                    row = Iteration(step * 4 + writer, writer * 10 + step, tokens=1)
                    insert(connection, "optimization_iterations", [iteration_row(run, row) for run in order])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    steps = [(writer, step) for writer in range(4) for step in range(15)]
    everything = [Iteration(step * 4 + writer, writer * 10 + step, tokens=1) for writer, step in steps]
    with connect(database) as owner:
        for run in runs:
            assert stored(owner, run) == expected(everything)


@pytest.mark.parametrize("later", ["insert", "update", "delete"])
@pytest.mark.parametrize("earlier", ["insert", "update", "delete"])
def test_writer_that_had_to_wait_counts_what_the_other_did(database, earlier, later):
    statements = {
        "insert": "insert into raw.optimization_iterations (project_id, run_id, iteration, score_raw, score_scale)"
        " values ('alpha', %(run)s, %(number)s + 10, 95, '[0,100]')",
        "update": "update raw.optimization_iterations set score_raw = 5"
        " where (run_id, iteration) = (%(run)s, %(number)s)",
        "delete": "delete from raw.optimization_iterations where (run_id, iteration) = (%(run)s, %(number)s)",
    }
    rows = {1: Iteration(1, 70), 2: Iteration(2, 60), 3: Iteration(3, 80)}
    with connect(database) as first, connect(database, autocommit=True) as second:
        run = add_run(second)
        add_iterations(second, run, *rows.values())
        first.execute(statements[earlier], {"run": run, "number": 1})
        waiting = threading.Thread(target=second.execute, args=[statements[later], {"run": run, "number": 2}])
        waiting.start()
        waiting.join(timeout=0.1)
        assert waiting.is_alive(), "the first writer has not committed"
        first.commit()
        waiting.join(timeout=30)
        for number, verb in ((1, earlier), (2, later)):
            if verb == "delete":
                del rows[number]
            else:
                rows |= (
                    {number: Iteration(number, 5)} if verb == "update" else {number + 10: Iteration(number + 10, 95)}
                )
        assert stored(second, run) == expected(rows.values())
