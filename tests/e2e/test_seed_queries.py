"""Every statement of docs/seed-queries.md, asked as `tracemill query` asks, gives what the page says.

Expectations about runs come from what the samples were written from; about executions from the raw rows, added up in
Python.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import fmean
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from pipelines import ingest
from pipelines.cli import reader
from pipelines.database import connect
from pipelines.samples import agent_evaluations, generate, optimizations
from pipelines.samples.optimizations import RunTruth
from pipelines.settings import REPOSITORY, Settings
from tests.marts import build, warehouse_environment

PROJECT = "storefront"
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
CANNOT_BE_ASKED_YET = {
    "optimization_run_analytics", "refresh_optimization_analytics", "v_table_sizes", "v_index_usage", "v_slow_queries",
    "v_system_performance", "v_active_simulations", "v_error_rates", "v_mart_freshness",
}  # fmt: skip


@dataclass(frozen=True)
class Statement:
    seed: str
    name: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.seed, self.name


@dataclass(frozen=True)
class World:
    """A warehouse of samples, and what is known about it apart from the warehouse."""

    settings: Settings
    owner: psycopg.Connection[dict[str, Any]]
    runs: list[RunTruth]
    """Of the project, the newest first."""

    def executions(self, newer_than: timedelta | None = None) -> list[dict[str, Any]]:
        """Of the project, straight from the raw table."""
        rows = self.owner.execute("select * from raw.command_executions where project_id = %s", [PROJECT]).fetchall()
        return [row for row in rows if newer_than is None or row["timestamp"] > datetime.now(UTC) - newer_than]

    def named(self, **wanted: object) -> list[str]:
        """Names of the runs with these values, the newest first."""
        return [run.name for run in self.runs if all(getattr(run, key) == value for key, value in wanted.items())]


Rows = list[dict[str, Any]]


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
            build(owner, days, command="run")
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
    try:
        with reader.ask(world.settings, statement.text, project=PROJECT, seconds=30) as answer:
            rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.InsufficientPrivilege,
    ) as error:
        missing = next((name for name in CANNOT_BE_ASKED_YET if name in (error.diag.message_primary or "")), None)
        if missing is None:
            raise
        pytest.skip(f"{missing} cannot be asked yet")
    assert {row["project_id"] for row in rows if "project_id" in row} <= {PROJECT}
    CHECKS.get(statement.key, some_rows)(rows, world)


def some_rows(rows: Rows, _: World) -> None:
    assert rows


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


def runs_named(expected: Callable[[World], list[str]]) -> Callable[[Rows, World], None]:
    """The runs that the samples were written from, in this order."""

    def check(rows: Rows, world: World) -> None:
        assert expected(world), "the samples hold such runs"
        assert [row["run_name"] for row in rows] == expected(world)

    return check


def summary(rows: Rows, world: World) -> None:
    newest = world.runs[0]
    (row,) = rows
    assert (row["run_name"], row["status"]) == (newest.name, newest.status)
    assert (row["iterations"], row["full_evaluations"]) == (newest.iterations, newest.full_evaluations)
    assert (row["samples_recorded"], row["samples_correct"]) == (newest.samples, newest.correct)


def best_scores(world: World, **wanted: object) -> list[float]:
    """Final scores on 0..1 of the completed runs with these values, the best first."""
    names = set(world.named(status="completed", **wanted))
    return sorted(
        ((run.final - run.scale[0]) / (run.scale[1] - run.scale[0]) for run in world.runs
         if run.name in names and run.final is not None),
        reverse=True,
    )  # fmt: skip


def leading(**wanted: object) -> Callable[[Rows, World], None]:
    def check(rows: Rows, world: World) -> None:
        expected = best_scores(world, **wanted)[:10]
        assert len(expected) > 3
        assert [float(row["final_score"]) for row in rows] == pytest.approx(expected)

    return check


def iterations(rows: Rows, world: World) -> None:
    run = _run_of(rows, world)
    numbers = [row["iteration"] for row in rows]
    assert numbers == sorted(numbers)
    assert len(rows) == run.iterations


def best_iteration(rows: Rows, world: World) -> None:
    (row,) = rows
    scores = world.owner.execute(
        "select iteration, score_raw from raw.optimization_iterations where run_id = %s and evaluation_kind = %s",
        [row["run_id"], row["evaluation_kind"]],
    ).fetchall()
    best = min((one for one in scores), key=lambda one: (-one["score_raw"], one["iteration"]))
    assert row["iteration"] == best["iteration"]


def samples(rows: Rows, _: World) -> None:
    assert [row["sample_index"] for row in rows] == list(range(len(rows)))
    assert 0 < len(rows) <= 100
    assert len({(row["run_id"], row["iteration"]) for row in rows}) == 1


def _run_of(rows: Rows, world: World) -> RunTruth:
    found = world.owner.execute("select run_name from raw.optimization_runs where id = %s", [rows[0]["run_id"]])
    name = (found.fetchone() or {})["run_name"]
    return next(run for run in world.runs if run.name == name)


def analytics(rows: Rows, world: World) -> None:
    counted: dict[tuple[str, str], int] = defaultdict(int)
    for run in world.runs:
        counted[run.optimizer_type, run.status] += 1
    assert {(row["optimizer_type"], row["status"]): row["total_runs"] for row in rows} == counted


def totals_by_optimizer(rows: Rows, world: World) -> None:
    assert {row["optimizer_type"] for row in rows} == {run.optimizer_type for run in world.runs}
    for row in rows:
        chosen = row["optimizer_type"]
        assert row["total_completed"] == len(world.named(optimizer_type=chosen, status="completed"))
        scores = [
            (run.final - run.scale[0]) / (run.scale[1] - run.scale[0])
            for run in world.runs
            if run.optimizer_type == chosen and run.final is not None
        ]
        found = row["overall_avg_score"]
        assert (found is None) == (not scores)
        assert found is None or float(found) == pytest.approx(fmean(scores))


def values(column: str, expected: set[str]) -> Callable[[Rows, World], None]:
    def check(rows: Rows, _: World) -> None:
        assert {row[column] for row in rows} >= expected

    return check


def refresh(rows: Rows, _: World) -> None:
    (row,) = rows
    assert row["status"] == "not recorded"


def freshness(rows: Rows, world: World) -> None:
    reached = {row["mart"]: row["last_activity_date"] for row in rows}
    assert reached["daily_command_stats"] == max(row["timestamp"] for row in world.executions()).date()
    assert all(row["is_current"] == (row["waiting_days"] == 0) for row in rows)


def affects_agents(rows: Rows, world: World) -> None:
    expected = {
        row["id"] for row in world.executions() if "agents" in (row["command_features"] or {})["affects_components"]
    }
    assert {row["id"] for row in rows} == expected


def tokens_and_costs(rows: Rows, world: World) -> None:
    requests = world.owner.execute(
        "select execution_id, model, output_tokens from raw.model_requests where project_id = %s", [PROJECT]
    ).fetchall()
    expected: dict[tuple[Any, str], int] = defaultdict(int)
    for request in requests:
        expected[request["execution_id"], request["model"]] += request["output_tokens"]
    assert {(row["id"], row["model"]): row["output_tokens"] for row in rows} == expected


def last_week(rows: Rows, world: World) -> None:
    assert {row["id"] for row in rows} == {row["id"] for row in world.executions(timedelta(days=7))} != set()


def by_day(rows: Rows, world: World) -> None:
    groups = _grouped(world.executions(), lambda row: (row["timestamp"].date(), _base(row)))
    assert len(rows) == len(groups)
    for row in rows:
        group = groups[row["activity_date"], row["command_base"]]
        assert row["execution_count"] == len(group)
        assert float(row["mean_tokens"]) == pytest.approx(fmean(one["total_tokens"] for one in group))
        assert row["cost_usd"] == _sum(group, "cost_usd")


def by_hour(rows: Rows, world: World) -> None:
    groups = _grouped(
        world.executions(timedelta(hours=24)), lambda row: row["timestamp"].replace(minute=0, second=0, microsecond=0)
    )
    assert groups, "the samples hold executions of today"
    assert {row["hour"]: row["tokens"] for row in rows} == {
        hour: sum(one["total_tokens"] for one in group) for hour, group in groups.items()
    }
    for row in rows:
        assert _is_rate(row["cache_rate"], groups[row["hour"]])


def cost_by_command(rows: Rows, world: World) -> None:
    groups = _grouped(world.executions(timedelta(days=30)), lambda row: row["command_base"])
    assert {row["command_base"] for row in rows} == set(groups)
    for row in rows:
        group = groups[row["command_base"]]
        prices = [float(one["cost_usd"]) for one in group if one["cost_usd"] is not None]
        assert (row["executions"], row["unpriced"]) == (len(group), len(group) - len(prices))
        assert row["total_cost"] == _sum(group, "cost_usd")
        if prices:
            assert row["p95_cost"] == pytest.approx(np.quantile(prices, 0.95))


def cache_effectiveness(rows: Rows, world: World) -> None:
    groups = _grouped(world.executions(timedelta(days=7)), lambda row: row["command_base"])
    assert {row["command_base"] for row in rows} == set(groups)
    for row in rows:
        assert _is_rate(row["cache_rate"], groups[row["command_base"]])
        assert row["total_savings"] == _sum(groups[row["command_base"]], "cache_savings_usd")
    rates = [row["cache_rate"] for row in sorted(rows, key=lambda row: row["cache_rank"]) if row["cache_rate"]]
    assert rates == sorted(rates, reverse=True)


def health(rows: Rows, world: World) -> None:
    (row,) = rows
    executions = world.executions()
    assert row["total_records"] == len(executions)
    assert row["last_execution"] == max(one["timestamp"] for one in executions)
    assert row["db_size"] > 0
    assert row["active_connections"] >= 1


def system_performance(rows: Rows, _: World) -> None:
    assert len(rows) == 24
    assert [row["hour_at"] for row in rows] == sorted(row["hour_at"] for row in rows)


def active_simulations(rows: Rows, _: World) -> None:
    (row,) = rows
    assert row["status"] == "running"


def error_rates(rows: Rows, world: World) -> None:
    outcomes = world.owner.execute(
        "select scenario_id, status, execution_time from raw.outcomes where project_id = %s "
        "and execution_time > now() - interval '7 days'", [PROJECT],
    ).fetchall()  # fmt: skip
    groups = _grouped(outcomes, lambda row: (row["execution_time"].date(), row["scenario_id"]))
    assert {(row["activity_date"], row["scenario_id"]): row["total_runs"] for row in rows} == {
        key: len(group) for key, group in groups.items()
    }
    for row in rows:
        group = groups[row["activity_date"], row["scenario_id"]]
        bad = sum(one["status"] in ("error", "timeout") for one in group)
        assert row["error_rate_pct"] == pytest.approx(100 * bad / len(group))


def for_operators(rows: Rows, _: World) -> None:
    assert rows == [], "an analyst is not shown what concerns all projects"


def _grouped(rows: Rows, key: Callable[[dict[str, Any]], Any]) -> Mapping[Any, Rows]:
    groups: dict[Any, Rows] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _base(row: dict[str, Any]) -> str:
    return row["command_base"] or f"({row['kind']})"


def _sum(rows: Rows, column: str) -> Decimal | None:
    """NULL where nothing is known, as in SQL."""
    known = [row[column] for row in rows if row[column] is not None]
    return sum(known, Decimal(0)) if known else None


def _is_rate(found: Decimal | None, rows: Rows) -> bool:
    prompt = sum(row["input_tokens"] for row in rows)
    if not prompt:
        return found is None
    return found is not None and float(found) == pytest.approx(100 * sum(row["cached_tokens"] for row in rows) / prompt)


def completed(world: World) -> list[str]:
    return world.named(status="completed")


RAW_TABLES = {"optimization_runs", "optimization_iterations", "optimization_samples"}
CHECKS: dict[tuple[str, str], Callable[[Rows, World], None]] = {
    ("000", "newest runs"): runs_named(lambda world: world.named()[:20]),
    ("000", "next page"): runs_named(lambda world: world.named()[1:21]),
    ("000", "runs of an optimizer"): runs_named(lambda world: world.named(optimizer_type="gepa")),
    ("001", "run summary"): summary,
    ("001", "top runs"): leading(),
    ("001", "refresh of the analytics"): refresh,
    ("001", "analytics of a project"): analytics,
    ("001", "completed runs"): runs_named(completed),
    ("001", "runs with two tags"): runs_named(
        lambda world: [name for name in completed(world) if name.startswith("ticket-routing ")]
    ),
    ("001", "runs by configuration"): runs_named(
        lambda world: world.named(model="gpt-4o-mini", optimizer_type="miprov2")
    ),
    ("001", "leaderboard"): leading(task="ticket-routing"),
    ("001", "a run"): runs_named(lambda world: world.named()[:1]),
    ("001", "its iterations"): iterations,
    ("001", "its best iteration"): best_iteration,
    ("001", "samples of an iteration"): samples,
    ("001", "totals by optimizer"): totals_by_optimizer,
    ("001", "tables"): values("tablename", RAW_TABLES),
    ("001", "indexes"): values("indexname", {"optimization_runs_by_time", "optimization_runs_tags"}),
    ("001", "policies"): values("tablename", RAW_TABLES),
    ("001", "index use"): values("indexrelname", {"optimization_runs_by_time", "optimization_runs_tags"}),
    ("001", "table sizes"): values("tablename", RAW_TABLES),
    ("001", "freshness of the analytics"): freshness,
    ("002", "run summary"): summary,
    ("002", "top runs"): leading(),
    ("002", "refresh of the analytics"): refresh,
    ("002", "runs of a status"): runs_named(completed),
    ("002", "leaderboard"): leading(),
    ("002", "table sizes"): for_operators,
    ("002", "index use"): for_operators,
    ("002", "slow statements"): for_operators,
    ("002", "policies of a table"): values("policyname", {"platform_all", "own_projects"}),
    ("002", "policies"): values("tablename", RAW_TABLES),
    ("003", "commands that affect a component"): affects_agents,
    ("003", "executions with tokens and costs"): tokens_and_costs,
    ("003", "executions of the last week"): last_week,
    ("003", "statistics by day and command"): by_day,
    ("003", "token usage by hour"): by_hour,
    ("003", "cost by command"): cost_by_command,
    ("003", "cache effectiveness"): cache_effectiveness,
    ("003", "database health"): health,
    ("004", "system performance"): system_performance,
    ("004", "active simulations"): active_simulations,
    ("004", "error rates"): error_rates,
}
