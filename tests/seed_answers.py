"""What the statements of docs/seed-queries.md must give over the samples, known apart from the warehouse.

Expectations about runs come from what the samples were written from; about executions and outcomes from their raw rows,
added up in Python.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import fmean
from typing import Any

import numpy as np
import psycopg
import pytest

from pipelines.samples.optimizations import RunTruth
from pipelines.settings import Settings

PROJECT = "storefront"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class World:
    """A warehouse of samples, and what is known about it apart from it."""

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


def some_rows(rows: Rows, _: World) -> None:
    assert rows


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
    (found,) = world.owner.execute(
        "select run_name, start_time from raw.optimization_runs where id = %s", [rows[0]["run_id"]]
    )
    (truth,) = (run for run in world.runs if (run.name, run.start_time) == (found["run_name"], found["start_time"]))
    return truth


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


def active_simulations(rows: Rows, world: World) -> None:
    simulations = world.owner.execute(
        "select simulation_id, status from raw.simulations where project_id = %s", [PROJECT]
    ).fetchall()
    active = {row["simulation_id"] for row in simulations if row["status"] in ("pending", "running")}
    assert {row["simulation_id"] for row in rows} == active != set()


def error_rates(rows: Rows, world: World) -> None:
    outcomes = world.owner.execute(
        "select scenario_id, status, execution_time from raw.outcomes where project_id = %s", [PROJECT]
    ).fetchall()
    last = max(day for row in outcomes if (day := row["execution_time"].date()) <= datetime.now(UTC).date())
    assert {row["window_end_date"] for row in rows} == {last}
    outcomes = [row for row in outcomes if timedelta(0) <= last - row["execution_time"].date() < timedelta(days=7)]
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
    ("001", "slow statements"): for_operators,
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
