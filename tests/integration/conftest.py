"""Databases that tests share and leave as they found them: one with an evaluation, one that is monitored."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest

from pipelines.database import connect
from pipelines.settings import Settings
from tests.evaluation_rows import Evaluation, add_evaluation
from tests.monitored import fill


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


@pytest.fixture(scope="session")
def monitored(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a warehouse with every mart and view built; tests leave it as they found it."""
    with migrated_database() as dsn:
        settings = Settings(
            home=tmp_path_factory.mktemp("monitored"), database_url=dsn, reader_database_url=None, watched_folders=(),
            device_id="test-device", redaction_key="key of the tests",
        )  # fmt: skip
        with connect(dsn) as connection:
            fill(connection, settings, dsn)
        # Autovacuum would do it at any moment, and sizes would change while a test compares them.
        with connect(dsn, autocommit=True) as connection:
            connection.execute("vacuum analyze")
        yield settings


@pytest.fixture
def operator(monitored: Settings) -> Iterator[psycopg.Connection]:
    """Superuser connection to the monitored warehouse; what a test writes without committing is undone."""
    with connect(monitored.database_url or "") as opened:
        yield opened
        opened.rollback()
