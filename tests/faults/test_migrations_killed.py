"""However a database came to the latest migration, its schema is the same to the letter, as pg_dump writes it."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from psycopg.conninfo import conninfo_to_dict

from pipelines.database import connect, embedded, migrations

Databases = Callable[[], AbstractContextManager[str]]

_NAMES = tuple(sorted(path.stem for path in migrations.FOLDER.glob("[0-9]*.sql")))
_MIGRATE = "import sys; from pipelines.database import migrations; migrations.migrate(sys.argv[1], wait_seconds=60)"


def schema(dsn: str) -> list[str]:
    """Lines of the dump, settings and rights of the database included; its name and pg_dump's own token apart."""
    dump = subprocess.run(
        [str(embedded.binaries() / "pg_dump"), "--schema-only", "--create", "--dbname", dsn],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip
    name = str(conninfo_to_dict(dsn)["dbname"])
    lines = dump.replace(name, "warehouse").splitlines()
    return [line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))]


@pytest.fixture(scope="module")
def latest(empty_database: Databases) -> Iterator[list[str]]:
    """The schema of a bare database that was migrated once, undisturbed."""
    with empty_database() as dsn:
        assert migrations.migrate(dsn) == _NAMES
        yield schema(dsn)


def test_migrating_twice_and_once_more_over_all_that_is_there_changes_nothing(
    latest: list[str], empty_dsn: str
) -> None:
    assert "    project_id text NOT NULL," in latest, "it is a dump of tables"
    migrations.migrate(empty_dsn)
    assert migrations.migrate(empty_dsn) == ()
    assert schema(empty_dsn) == latest
    with connect(empty_dsn, autocommit=True) as admin:
        admin.execute("truncate public.schema_migrations")
    assert migrations.migrate(empty_dsn) == _NAMES
    assert schema(empty_dsn) == latest


def test_two_migrators_at_once_leave_what_one_leaves(latest: list[str], empty_dsn: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = list(pool.map(migrations.migrate, [empty_dsn, empty_dsn]))
    assert sorted(applied, key=len) == [(), _NAMES]
    assert schema(empty_dsn) == latest


def kill_migrator(dsn: str, draw: random.Random) -> tuple[int, bool]:
    """Kills a migrator after a drawn number of migrations and a moment more.

    Returns how many migrations the database has then, and whether the migrator was within another.
    """
    done = len(migrations.status(dsn).applied)
    after = draw.randrange(done, len(_NAMES))
    migrator = subprocess.Popen([sys.executable, "-c", _MIGRATE, dsn])
    within = (
        "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
        "and xact_start is not null and application_name = 'tracemill'"
    )
    with connect(dsn, autocommit=True) as observer:
        deadline = time.monotonic() + 60
        while migrator.poll() is None and time.monotonic() < deadline:
            is_within = observer.execute(within).fetchone() is not None
            if is_within and len(migrations.status(dsn).applied) >= after:
                break
        time.sleep(draw.uniform(0, 0.02))
        is_within = observer.execute(within).fetchone() is not None
        migrator.kill()
        migrator.wait(timeout=30)
    return len(migrations.status(dsn).applied), is_within


def check_killed_migrators(latest: list[str], empty_database: Databases, kills: int) -> None:
    """Kills until that many have died within a migration.

    Each time it goes on from where the last one died, or from nothing where it had finished.
    """
    draw = random.Random(kills)
    points: list[tuple[int, bool]] = []

    def missing() -> int:
        return kills - sum(is_within and applied < len(_NAMES) for applied, is_within in points)

    while missing():
        with empty_database() as dsn:
            while missing() and len(migrations.status(dsn).pending) > 1:
                points.append(kill_migrator(dsn, draw))
            migrations.migrate(dsn, wait_seconds=60)
            assert schema(dsn) == latest, points


def test_migrators_killed_in_the_middle_and_run_again_leave_the_same_schema(
    latest: list[str], empty_database: Databases
) -> None:
    check_killed_migrators(latest, empty_database, 4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_migrators_killed_thirty_times_and_run_again_leave_the_same_schema(
    latest: list[str], empty_database: Databases
) -> None:
    check_killed_migrators(latest, empty_database, 30)
