"""A history of evaluations, written as ingest writes it: deterministic, uneven, with everything that may be unknown.

Each project has one agent in three versions, the later ones better, put to the same scenarios every day in two
attempts. Some attempts have no verdict, score, price, time or tokens; some are cancelled; failed ones have errors.
"""

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

_CATEGORIES = (("timeout", "no answer within <n> s"), ("tool_error", "order <n> not found"), ("model_error", None))
_TOOLS = ("find", "open", "change", "check")


@dataclass(frozen=True)
class History:
    """How much to make."""

    first_date: date
    days: int
    scenarios: int = 8
    projects: tuple[str, ...] = ("north", "south")
    attempts: int = 2

    @property
    def dates(self) -> list[date]:
        return [self.first_date + timedelta(days=number) for number in range(self.days)]


@dataclass
class _Rows:
    """Rows by table, all of a table with the same columns."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: str, **columns: Any) -> None:
        self.tables.setdefault(table, []).append(columns)

    def copy(self, connection: psycopg.Connection) -> None:
        """Rows that are there already stay as they are."""
        for table, rows in self.tables.items():
            names = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
            target = sql.Identifier("raw", table)
            connection.execute("drop table if exists copied")
            connection.execute(
                sql.SQL("create temporary table copied as select {} from {} limit 0").format(names, target)
            )
            with connection.cursor() as cursor, cursor.copy(sql.SQL("copy copied ({}) from stdin").format(names)) as to:
                for row in rows:
                    to.write_row(list(row.values()))
            connection.execute(
                sql.SQL("insert into {} ({}) select {} from copied on conflict do nothing").format(target, names, names)
            )


def insert(connection: psycopg.Connection, history: History, *, seed: str = "") -> None:
    """Adds the history; partitions are made and projects registered, as ingest does."""
    connection.execute("select ops.ensure_month_partitions(%s, %s)", [history.dates[0], history.dates[-1]])
    rows = _Rows()
    for project in history.projects:
        connection.execute(
            "insert into app.project_config (project_id, display_name) values (%s, %s) on conflict do nothing",
            [project, project],
        )
        rng = random.Random(f"{seed} {project}")
        _configure(rows, history, project)
        for day in history.dates:
            _evaluate(rows, history, project, day, rng)
    rows.copy(connection)


def version_id(number: int) -> UUID:
    """Id of a version of the agent, the same in every project."""
    return UUID(int=0xA0 + number)


def diff_id(number: int) -> UUID:
    """Id of the change that led to the version."""
    return UUID(int=0xD0 + number)


CONFIG_ID = UUID(int=0xC0)
PREDICTIONS: dict[int, dict[str, Any]] = {2: {"reliability": 0.1, "cost_usd": -0.5, "tokens": "fewer"}, 3: {}}


def _configure(rows: _Rows, history: History, project: str) -> None:
    rows.add("configurations", project_id=project, config_id=CONFIG_ID, name="agent")
    for number in (1, 2, 3):
        rows.add(
            "config_versions", project_id=project, version_id=version_id(number), config_id=CONFIG_ID,
            version_number=number, raw_yaml=f"model: m{number}", parsed_config=json.dumps({"model": f"m{number}"}),
        )  # fmt: skip
    for number, prediction in PREDICTIONS.items():
        rows.add(
            "config_diffs", project_id=project, diff_id=diff_id(number), config_id=CONFIG_ID,
            version_before=version_id(number - 1), number_before=number - 1, version_after=version_id(number),
            number_after=number, change_summary="{}", impact_prediction=json.dumps(prediction),
        )  # fmt: skip
    for number in range(history.scenarios + 1):  # the last is never attempted
        rows.add("scenarios", project_id=project, scenario_id=f"s{number}", name=f"Scenario {number}")


def _evaluate(rows: _Rows, history: History, project: str, day: date, rng: random.Random) -> None:
    # A new version comes every 20 days, and the one before is evaluated beside it.
    newest = min(3, 1 + (day - date(2026, 1, 1)).days // 20)
    for version in {max(1, newest - 1), newest}:
        simulation = UUID(int=rng.getrandbits(128), version=4)
        began = datetime.combine(day, time(rng.randrange(24), rng.randrange(60)), UTC)
        rows.add(
            "simulations", project_id=project, simulation_id=simulation, config_version_id=version_id(version),
            status="completed", source="test", source_key=str(simulation), completed_at=began, created_at=began,
        )  # fmt: skip
        for number in range(history.scenarios - (version == 1)):
            rows.add(
                "simulation_scenarios", project_id=project, simulation_id=simulation, scenario_id=f"s{number}",
                execution_order=number + 1,
            )  # fmt: skip
            chance = 0.9 - 0.1 * number + 0.05 * version
            for epoch in range(1, history.attempts + 1):
                _attempt(rows, rng, project, simulation, f"s{number}", epoch, began, chance)


def _attempt(
    rows: _Rows, rng: random.Random, project: str, simulation: UUID, scenario: str, epoch: int, began: datetime,
    chance: float,
) -> None:  # fmt: skip
    status = rng.choices(("success", "error", "timeout", "cancelled"), (80, 8, 8, 4))[0]
    is_passed = (status == "success" and rng.random() < chance) if rng.random() < 0.85 and status != "error" else None
    has_price, has_tokens = rng.random() < 0.8, rng.random() < 0.9
    owner = {"project_id": project, "outcome_id": UUID(int=rng.getrandbits(128), version=4), "execution_time": began}
    rows.add(
        "outcomes", **owner, simulation_id=simulation, scenario_id=scenario, epoch=epoch, status=status,
        score_raw=round(rng.betavariate(5, 2), 4) if rng.random() < 0.7 else None, is_passed=is_passed,
        execution_time_ms=round(rng.lognormvariate(8, 1), 3) if rng.random() < 0.9 else None,
        tokens_used=int(rng.lognormvariate(7, 1)) if has_tokens else None,
        cost_usd=round(rng.lognormvariate(-4, 1.5), 6) if has_price else None,
        cost_status=rng.choice(("reported", "computed", "partial")) if has_price else "unpriced",
        retry_count=rng.randrange(3), trajectory=json.dumps({"start_time": began.isoformat(), "status": status}),
    )  # fmt: skip
    for call in range(1, rng.randrange(6)):
        answer = rng.choices(("ok", "error", "unanswered"), (90, 8, 2))[0]
        rows.add(
            "tool_usage", **owner, call_number=call, tool_name=rng.choice(_TOOLS), status=answer,
            duration_ms=round(rng.lognormvariate(5, 1), 2) if rng.random() < 0.9 else None,
            cost_usd=0.001 if rng.random() < 0.3 else None,
        )  # fmt: skip
    for _ in range(rng.randrange(3) if status in ("error", "timeout") else rng.random() < 0.1):
        category, template = rng.choice(_CATEGORIES)
        is_tried = rng.random() < 0.5
        rows.add(
            "failure_patterns", **owner, pattern_id=UUID(int=rng.getrandbits(128), version=4), failure_type=category,
            failure_category=category, error_template=template, cluster_id=f"v1:{category}",
            recovery_attempted=is_tried, recovery_successful=is_tried and status == "success",
        )  # fmt: skip
