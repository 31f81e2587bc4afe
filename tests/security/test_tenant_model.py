"""Random steps of random tenants see exactly what a model in Python says, and change nothing."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import InsufficientPrivilege

from pipelines.database import connect
from tests.evaluation_rows import TABLES as EVALUATION_TABLES
from tests.evaluation_rows import value
from tests.evaluation_tenants import fill, member
from tests.execution_tenants import TABLES as EXECUTION_TABLES
from tests.execution_tenants import add_executions
from tests.optimization_tenants import TABLES as OPTIMIZATION_TABLES
from tests.optimization_tenants import add_runs

OUTCOMES = {"alpha": 5, "beta": 7, "gamma": 3}
ROLES = ("service_role", "authenticated", "app_user", "app_admin", "app_readonly")

AUDIT_TABLES = ("audit.audit_log", "audit.chain_heads")
TABLES = (
    *EXECUTION_TABLES, *OPTIMIZATION_TABLES, *EVALUATION_TABLES, *AUDIT_TABLES, "app.project_config",
    "app.project_members",
)  # fmt: skip

READERS = dict.fromkeys(AUDIT_TABLES, ("app_admin",))
"""Roles that may read a table at all; all of them where the table is not named."""
MEMBER_OF = {"one": {"alpha"}, "two": {"beta", "gamma"}, "none": set()}
TOKENS = {"none": set(), "made up": set(), "expired": set(), "alpha": {"alpha"}, "beta": {"beta"}}

FILTERS = {
    "true": lambda row: True,
    "project_id = 'beta'": lambda row: row["project_id"] == "beta",
    "project_id <> 'alpha'": lambda row: row["project_id"] != "alpha",
    "project_id in ('alpha', 'gamma')": lambda row: row["project_id"] in ("alpha", "gamma"),
    "project_id like '%a' or project_id is null": lambda row: True,
    "not (t.* is distinct from t.*)": lambda row: True,
    "to_jsonb(t)::text ~ 'beta'": lambda row: row["names_beta"],
    "exists (select from raw.scenarios as s where s.project_id <> t.project_id)": None,
}
READS = (
    "select project_id from {table} as t where {filter}",
    "select project_id from {table} as t where {filter} union all select project_id from {table} where false",
    "with t as not materialized (select * from {table}) select project_id from t where {filter}",
    "select p from (select t.project_id as p, count(*) over () from {table} as t where {filter}) as w",
    "select distinct_rows.project_id from (select t.project_id, t.ctid, t.tableoid from {table} as t where {filter}) "
    "as distinct_rows",
)
WRITES = (
    "insert into {table} (project_id) select project_id from {table} as t where {filter}",
    "update {table} as t set project_id = 'alpha' where {filter}",
    "delete from {table} as t where {filter}",
    "merge into {table} as t using (values (1)) as s on {filter} when matched then delete",
    "select 1 from {table} as t where {filter} for no key update",
)


@dataclass(frozen=True)
class Step:
    """What one tenant does once."""

    login: str
    token: str
    role: str
    table: str
    condition: str
    statement: str

    @property
    def projects(self) -> set[str]:
        return MEMBER_OF[self.login] | TOKENS[self.token]

    @property
    def is_allowed(self) -> bool:
        return self.statement in READS and self.role in READERS.get(self.table, ROLES)


STEPS = st.builds(
    Step,
    login=st.sampled_from(sorted(MEMBER_OF)),
    token=st.sampled_from(sorted(TOKENS)),
    role=st.sampled_from(ROLES),
    table=st.sampled_from(TABLES),
    condition=st.sampled_from(sorted(FILTERS)),
    statement=st.sampled_from((*READS, *READS, *WRITES)),
)


@dataclass(frozen=True)
class World:
    """Connections by login, tokens by name, and every row of every table as its owner sees it."""

    owner: psycopg.Connection
    logins: dict[str, psycopg.Connection]
    tokens: dict[str, str]
    rows: dict[str, list[dict]]

    def contents(self) -> dict[str, list[dict]]:
        query = "select project_id, to_jsonb(t)::text ~ 'beta' from {} as t order by 1, to_jsonb(t)::text"
        return {
            table: [
                dict(zip(("project_id", "names_beta"), row, strict=True))
                for row in self.owner.execute(query.format(table))
            ]
            for table in TABLES
        }

    def expected(self, step: Step) -> Counter[str]:
        visible = [row for row in self.rows[step.table] if row["project_id"] in step.projects]
        keeps = FILTERS[step.condition]
        if keeps is None:
            with_scenarios = {row["project_id"] for row in self.rows["raw.scenarios"]} & step.projects
            visible = [row for row in visible if with_scenarios - {row["project_id"]}]
        else:
            visible = [row for row in visible if keeps(row)]
        return Counter(row["project_id"] for row in visible)

    def take(self, step: Step) -> None:
        connection = self.logins[step.login]
        statement = step.statement.format(table=step.table, filter=step.condition)
        with connection.transaction():
            connection.execute("select set_config('app.token', %s, true)", [self.tokens[step.token]])
            connection.execute(f"set local role {step.role}")
            if step.is_allowed:
                assert Counter(project for (project,) in connection.execute(statement)) == self.expected(step)
            else:
                with pytest.raises(InsufficientPrivilege), connection.transaction():
                    connection.execute(statement)


@pytest.fixture(scope="module")
def world(migrated_database) -> Iterator[World]:
    suffix = os.urandom(4).hex()
    with migrated_database() as dsn, ExitStack() as stack:
        with connect(dsn) as owner:
            fill(owner, OUTCOMES)
            for project, count in OUTCOMES.items():
                add_executions(owner, project, count)
                add_runs(owner, project, count)
        logins = {
            name: stack.enter_context(member(dsn, f"{name}_{suffix}", *sorted(projects)))
            for name, projects in MEMBER_OF.items()
        }
        owner = stack.enter_context(connect(dsn, autocommit=True))
        tokens = {project: value(owner, "select app.open_session(%s)", project) for project in ("alpha", "beta")}
        tokens["expired"] = value(owner, "select app.open_session('gamma', '-1 second')")
        tokens |= {"none": "", "made up": "0" * 64}
        opened = {
            name: stack.enter_context(connect(login, autocommit=True)) for name, login in logins.items()
        }  # fmt: skip
        found = World(owner, opened, tokens, {})
        found.rows.update(found.contents())
        assert all({row["project_id"] for row in rows} == set(OUTCOMES) for rows in found.rows.values())
        yield found


def follow(world: World, steps: int) -> None:
    @settings(
        max_examples=steps, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    @given(step=STEPS)
    def take(step: Step) -> None:
        world.take(step)

    take()
    assert world.contents() == world.rows, "something was changed"


def test_random_steps_of_tenants_equal_the_model(world):
    follow(world, 300)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_thousand_random_steps_of_tenants_equal_the_model(world):
    follow(world, 5000)
