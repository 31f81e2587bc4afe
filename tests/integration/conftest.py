"""A database with one evaluation in it, shared by the tests of a module that undo what they do."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest

from pipelines.database import connect
from tests.evaluation_rows import Evaluation, add_evaluation


@pytest.fixture(scope="module")
def evaluated(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[tuple[str, Evaluation]]:
    """DSN of the database, and the keys of its evaluation in project alpha."""
    with migrated_database() as dsn:
        with connect(dsn, role="tracemill_ingest") as opened:
            opened.execute("select ops.ensure_month_partitions('2026-03-01', '2026-03-01')")
            made = add_evaluation(opened, "alpha")
        yield dsn, made


@pytest.fixture
def ingest(evaluated: tuple[str, Evaluation]) -> Iterator[psycopg.Connection]:
    """Connection with the rights of ingest; what a test writes without committing is undone."""
    with connect(evaluated[0], role="tracemill_ingest") as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def owner(evaluated: tuple[str, Evaluation]) -> Iterator[psycopg.Connection]:
    """Superuser connection; what a test writes without committing is undone."""
    with connect(evaluated[0]) as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def made(evaluated: tuple[str, Evaluation]) -> Evaluation:
    """Keys of the evaluation that is there."""
    return evaluated[1]
