"""Two tenants' marts and monitoring: an analyst's login shows one project, whatever is asked and whenever.

Both projects hold the same sample logs, ingested apart, so that nothing but the project tells their rows apart, and
whatever one of them sees too much of would show as twice as many rows.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date

import psycopg
import pytest

from pipelines import ingest, samples
from pipelines.database import connect
from pipelines.samples import agent_evaluations, optimizations
from pipelines.settings import Settings
from tests.evaluation_tenants import member
from tests.marts import build, warehouse_environment

OURS, THEIRS = "alpha-tenant", "beta-tenant"
DERIVED = ("staging", "intermediate", "marts", "monitoring")


@dataclass(frozen=True)
class Tenancy:
    """A built warehouse of two projects: its owner's connection, and the address of an analyst of ``OURS``."""

    owner: psycopg.Connection
    analyst: str

    def relations(self, *schemas: str) -> list[str]:
        """Tables and views that app_readonly may read, partitions apart."""
        rows = self.owner.execute(
            """
            select format('%%I.%%I', n.nspname, c.relname)
            from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname = any(%s) and c.relkind in ('r', 'p', 'v', 'm')
                and has_schema_privilege('app_readonly', n.oid, 'usage')
                and has_table_privilege('app_readonly', c.oid, 'select')
            order by 1
            """,
            [list(schemas)],
        ).fetchall()
        self.owner.rollback()
        return [name for (name,) in rows]


@pytest.fixture(scope="module")
def tenancy(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tenancy]:
    folder = tmp_path_factory.mktemp("logs")
    samples.generate(folder / "agents", days=8, size_bytes=200_000)
    optimizations.write(folder / "optimizations", days=8)
    agent_evaluations.write(folder / "evaluations", days=8)
    with migrated_database() as dsn:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"),
            database_url=dsn,
            reader_database_url=None,
            watched_folders=(),
            device_id="test-device",
            redaction_key="key of the tests",
        )
        for project in (OURS, THEIRS):
            ingest.run([folder], dsn=dsn, settings=settings, project=project, jobs=1)
        login = f"analyst_{os.urandom(4).hex()}"
        with warehouse_environment(settings, dsn), connect(dsn) as owner, member(dsn, login, OURS) as analyst:
            build(owner, touched_days(owner), command="run")
            yield Tenancy(owner, analyst)


def touched_days(connection: psycopg.Connection) -> list[date]:
    return [day for (day,) in connection.execute("select distinct activity_date from ops.touched_days order by 1")]


@contextmanager
def reading(tenancy: Tenancy) -> Iterator[psycopg.Connection]:
    """As the analyst types."""
    with connect(tenancy.analyst, role="app_readonly", autocommit=True) as connection:
        yield connection


def foreign_rows(connection: psycopg.Connection, relation: str) -> int:
    """Rows in which the other project is named anywhere."""
    return connection.execute(
        f"select count(*) from {relation} as r where r::text like %s", [f"%{THEIRS}%"]
    ).fetchone()[0]


def test_the_analyst_sees_the_own_half_of_every_mart_and_nothing_of_the_other(tenancy: Tenancy):
    marts = tenancy.relations("marts")
    assert len(marts) >= 9
    with reading(tenancy) as analyst:
        for mart in marts:
            assert foreign_rows(analyst, mart) == 0, mart
            keyed = "project_id" in columns_of(tenancy.owner, mart)
            if keyed:
                (own,) = tenancy.owner.execute(f"select count(*) from {mart} where project_id = %s", [OURS]).fetchone()
                assert analyst.execute(f"select count(*) from {mart}").fetchone() == (own,), mart


def test_no_view_of_monitoring_names_the_other_project(tenancy: Tenancy):
    with reading(tenancy) as analyst:
        for view in tenancy.relations("monitoring", "app", "ops", "raw", "audit", "public"):
            assert foreign_rows(analyst, view) == 0, view


def test_statistics_of_the_marts_do_not_show_the_other_project(tenancy: Tenancy):
    tenancy.owner.execute("analyze")
    tenancy.owner.commit()
    with reading(tenancy) as analyst:
        shown = analyst.execute(
            """
            select schemaname, tablename, attname from pg_stats
            where schemaname = any(%s)
                and (most_common_vals::text like %s or histogram_bounds::text like %s)
            """,
            [[*DERIVED, "raw", "raw_partitions", "app", "ops"], f"%{THEIRS}%", f"%{THEIRS}%"],
        ).fetchall()
    assert shown == []


def test_partitions_and_the_platforms_own_tables_cannot_be_read_directly(tenancy: Tenancy):
    hidden = tenancy.owner.execute(
        """
        select format('%I.%I', n.nspname, c.relname)
        from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and (c.relispartition or n.nspname in ('staging', 'intermediate'))
        """
    ).fetchall()
    tenancy.owner.rollback()
    assert len(hidden) > 20
    with reading(tenancy) as analyst:
        for (relation,) in hidden:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                analyst.execute(f"select 1 from {relation} limit 1")


def test_a_full_refresh_under_readers_shows_no_foreign_row_and_no_missing_relation(tenancy: Tenancy):
    relations = tenancy.relations("marts", "monitoring")
    with watched(tenancy, relations) as seen:
        build(tenancy.owner, [], "--full-refresh", command="run")
    assert seen.rounds >= 3
    assert seen.failures == {}
    assert tenancy.relations("marts", "monitoring") == relations
    with reading(tenancy) as analyst:
        assert [relation for relation in relations if foreign_rows(analyst, relation)] == []


def test_a_mart_whose_columns_have_changed_is_made_anew_and_protected_again(tenancy: Tenancy):
    mart = "marts.dim_workspaces"
    columns = columns_of(tenancy.owner, mart)
    tenancy.owner.execute(f"alter table {mart} add column left_behind text")
    tenancy.owner.commit()
    build(tenancy.owner, [], "--full-refresh", "--select", "dim_workspaces", command="run")
    assert columns_of(tenancy.owner, mart) == columns
    with reading(tenancy) as analyst:
        (rows,) = analyst.execute(f"select count(*) from {mart}").fetchone()
        assert rows > 0
        assert foreign_rows(analyst, mart) == 0


@dataclass
class Sightings:
    """What a reader who never stops has met."""

    rounds: int = 0
    failures: dict[str, str] = field(default_factory=dict)


@contextmanager
def watched(tenancy: Tenancy, relations: list[str]) -> Iterator[Sightings]:
    seen, is_over = Sightings(), threading.Event()

    def look() -> None:
        with reading(tenancy) as analyst:
            while not is_over.is_set():
                for relation in relations:
                    try:
                        if foreign_rows(analyst, relation):
                            seen.failures[relation] = "rows of the other project"
                    except psycopg.Error as error:
                        seen.failures[relation] = str(error).splitlines()[0]
                seen.rounds += 1

    reader = threading.Thread(target=look)
    reader.start()
    try:
        yield seen
    finally:
        is_over.set()
        reader.join(timeout=60)


def columns_of(connection: psycopg.Connection, relation: str) -> set[str]:
    rows = connection.execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped", [relation]
    ).fetchall()
    connection.rollback()
    return {name for (name,) in rows}
