"""Every statement of docs/seed-queries.md, asked as `tracemill query` asks, gives what the page says.

What that is, ``tests.seed_answers`` knows.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from pipelines import ingest
from pipelines.cli import reader
from pipelines.database import connect
from pipelines.samples import agent_evaluations, generate, optimizations
from pipelines.settings import REPOSITORY, Settings
from tests.marts import build, warehouse_environment
from tests.seed_answers import CHECKS, PROJECT, World, some_rows

PAGE = REPOSITORY / "docs" / "seed-queries.md"
SEEDS = REPOSITORY.parent / "shared" / "seeds"

STATEMENTS = {
    "000": ("newest runs", "next page", "runs of an optimizer"),
    "001": (
        "run summary", "top runs", "refresh of the analytics", "analytics of a project", "completed runs",
        "runs with two tags", "runs by configuration", "leaderboard", "a run", "its iterations", "its best iteration",
        "samples of an iteration", "totals by optimizer", "tables", "indexes", "policies", "first run",
        "slow statements", "index use", "table sizes", "freshness of the analytics",
    ),
    "002": (
        "run summary", "top runs", "refresh of the analytics", "runs of a status", "runs with one tag",
        "runs of a model", "leaderboard", "table sizes", "index use", "slow statements", "policies of a table",
        "policies",
    ),
    "003": (
        "commands that affect a component", "executions with tokens and costs", "executions of the last week",
        "statistics by day and command", "token usage by hour", "cost by command", "cache effectiveness",
        "database health",
    ),
    "004": ("system performance", "active simulations", "error rates"),
}  # fmt: skip
"""Name of each statement, by document."""
PRINTED = {"000": 0, "001": 21, "002": 10, "003": 7, "004": 2}
"""SELECT, WITH and INSERT in the documents' own blocks of SQL; 004 prints but the two that schedule jobs. Beyond these,
000 and 002 name statements in their text, 003 prints a query and 004 three as definitions of views."""
MODELS = (
    "daily_command_stats", "optimization_run_analytics", "v_mart_freshness", "v_table_sizes", "v_index_usage",
    "v_slow_queries", "v_system_performance", "v_active_simulations", "v_error_rates",
)  # fmt: skip
"""What the page asks of dbt."""


@dataclass(frozen=True)
class Statement:
    seed: str
    name: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.seed, self.name


def statements() -> list[Statement]:
    """The fenced blocks of the page with the headings above them."""
    found, seed = [], ""
    for part in re.split(r"^(?=##)", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE):
        heading = part.partition("\n")[0]
        if heading.startswith("## "):
            seed = heading.removeprefix("## ")
        blocks = re.findall(r"^```sql\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
        found += [Statement(seed, heading.removeprefix("### "), block) for block in blocks]
    return found


@pytest.fixture(scope="module")
def world(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder, today = tmp_path_factory.mktemp("samples"), datetime.now(UTC).date()
    generate(folder / "logs", size_bytes=200_000, days=8, last_day=today - timedelta(days=1))
    generate(folder / "today", size_bytes=60_000, days=1, last_day=today, projects=1, seed=7)
    written = optimizations.write(folder / "runs", last_day=today, projects=(PROJECT, "ledger-api"))
    agent_evaluations.write(folder / "shop", last_day=today + timedelta(days=3))
    with migrated_database() as dsn, connect(dsn) as owner:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"), database_url=dsn, watched_folders=(),
            reader_database_url=make_conninfo(dsn, user=reader.READER), redaction_key="key of the tests",
        )  # fmt: skip
        ingest.run([folder / "logs", folder / "today", folder / "runs"], dsn=dsn, settings=settings, jobs=1)
        ingest.run([folder / "shop"], dsn=dsn, settings=settings, project=PROJECT, jobs=1)
        owner.execute(
            "update raw.simulations set status = 'running', completed_at = null "
            "where simulation_id = (select simulation_id from raw.simulations order by started_at desc limit 1)"
        )
        days = [day for (day,) in owner.execute("select distinct activity_date from ops.touched_days")]
        with warehouse_environment(settings, dsn):
            build(owner, days, "--select", *(f"+{model}" for model in MODELS), command="run")
        runs = [run for run in written.runs if run.project == PROJECT]
        owner.row_factory = dict_row  # type: ignore[assignment]
        yield World(settings, owner, sorted(runs, key=lambda run: run.start_time, reverse=True))  # type: ignore[arg-type]


def test_page_lists_every_statement_of_every_document():
    listed = defaultdict(list)
    for statement in statements():
        listed[statement.seed].append(statement.name)
    assert {seed: tuple(names) for seed, names in listed.items()} == STATEMENTS


def test_documents_print_no_statement_that_the_table_lacks():
    if not SEEDS.is_dir():
        pytest.skip(f"the documents are not there: {SEEDS}")
    printed = {}
    for document in SEEDS.iterdir():
        blocks = re.findall(r"^ *```sql\n(.*?)^ *```", document.read_text(), re.MULTILINE | re.DOTALL)
        parts = [re.sub(r"--[^\n]*", "", part).strip() for block in blocks for part in block.split(";")]
        printed[document.name[:3]] = sum(bool(re.match(r"(select|with|insert)\b", part, re.I)) for part in parts)
    assert printed == PRINTED
    assert all(len(STATEMENTS[seed]) >= count for seed, count in PRINTED.items())


@pytest.mark.parametrize("statement", statements(), ids=lambda statement: f"{statement.seed}: {statement.name}")
def test_statement_gives_what_the_page_says(statement: Statement, world: World):
    if statement.key == ("001", "first run"):
        assert_is_refused_to_analysts(statement, world)
        return
    with reader.ask(world.settings, statement.text, project=PROJECT, seconds=30) as answer:
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert {row["project_id"] for row in rows if "project_id" in row} <= {PROJECT}
    CHECKS.get(statement.key, some_rows)(rows, world)


def assert_is_refused_to_analysts(statement: Statement, world: World) -> None:
    with (
        pytest.raises(psycopg.Error),
        reader.ask(world.settings, statement.text, project=PROJECT, seconds=30) as answer,
    ):
        list(answer.rows)
    with connect(world.settings.database_url or "", role="tracemill_ingest") as ingesting:
        ingesting.execute(statement.text.encode())
        row = ingesting.execute("select status from raw.optimization_runs where run_name = 'test_run'").fetchone()
        ingesting.rollback()
    assert row == ("pending",)
