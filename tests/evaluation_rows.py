"""Rows of evaluations, written as ingest writes them: one chain from a configuration to what is recommended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRAJECTORY = {"start_time": "2026-03-01T12:00:00Z", "status": "success"}

TABLES = (
    "raw.configurations",
    "raw.config_versions",
    "raw.config_diffs",
    "raw.scenarios",
    "raw.simulations",
    "raw.simulation_scenarios",
    "raw.outcomes",
    "raw.tool_usage",
    "raw.failure_patterns",
    "raw.recommendations",
    "raw.embeddings",
    "raw.embedding_subjects",
)


@dataclass(frozen=True)
class Evaluation:
    """Keys of one evaluation of a project."""

    project: str
    config: UUID
    versions: tuple[UUID, UUID]
    diff: UUID
    scenario: str
    simulation: UUID
    outcome: UUID
    pattern: UUID
    recommendation: UUID


def add(connection: psycopg.Connection, table: str, **columns: Any) -> Mapping[str, Any]:
    """Inserts one row and returns it with what the database filled in; dicts become JSON."""
    values = [Jsonb(value) if isinstance(value, dict) else value for value in columns.values()]
    statement = sql.SQL("insert into {} ({}) values ({}) returning *").format(
        sql.Identifier(*table.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
    )
    cursor = connection.execute(statement, values)
    return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))


def refused(connection: psycopg.Connection, error: type[psycopg.Error], table: str, **columns: Any) -> None:
    """Inserting the row fails with this error and changes nothing."""
    with pytest.raises(error), connection.transaction():
        add(connection, table, **columns)


def value(connection: psycopg.Connection, query: str, *parameters: Any) -> Any:
    """First column of the first row."""
    return connection.execute(query, parameters or None).fetchone()[0]


def add_version(connection: psycopg.Connection, project: str, config: UUID, text: str, **columns: Any) -> UUID:
    given = {"parsed_config": {"model": "m"}, **columns}
    return add(
        connection, "raw.config_versions", project_id=project, config_id=config, raw_yaml=text, **given
    )["version_id"]  # fmt: skip


def add_outcome(connection: psycopg.Connection, made: Evaluation, **columns: Any) -> Mapping[str, Any]:
    """One more outcome of the evaluation."""
    given = {"execution_time": MOMENT, "status": "success", "trajectory": TRAJECTORY, **columns}
    return add(
        connection, "raw.outcomes", project_id=made.project, simulation_id=made.simulation,
        scenario_id=made.scenario, **given,
    )  # fmt: skip


def add_evaluation(
    connection: psycopg.Connection, project: str, label: str = "", ids: Mapping[str, UUID] | None = None
) -> Evaluation:
    """One row in every table of evaluations, two versions; all texts hold ``label``. ``ids`` fixes keys by column."""
    keys = dict(ids or {})

    def fixed(*names: str) -> dict[str, UUID]:
        return {name: keys[name] for name in names if name in keys}

    config = add(
        connection, "raw.configurations", project_id=project, name=f"agent {label}", **fixed("config_id")
    )["config_id"]  # fmt: skip
    first = add_version(connection, project, config, f"model: m # {label}", **fixed("version_id"))
    second = add_version(connection, project, config, f"model: n # {label}", parsed_config={"model": f"n {label}"})
    diff = add(
        connection, "raw.config_diffs", project_id=project, config_id=config, version_before=first, number_before=1,
        version_after=second, number_after=2, diff_yaml=f"-m +n {label}", change_summary={}, **fixed("diff_id"),
    )["diff_id"]  # fmt: skip
    scenario = add(
        connection, "raw.scenarios", project_id=project, scenario_id="book_a_flight", name="Book a flight",
        task_prompt=f"Book the cheapest flights to Lisbon. {label}", tags=["travel"],
    )["scenario_id"]  # fmt: skip
    simulation = add(
        connection, "raw.simulations", project_id=project, config_version_id=first, status="completed",
        completed_at=MOMENT, source="test", source_key=f"run {label}", metadata={"label": label},
        **fixed("simulation_id"),
    )["simulation_id"]  # fmt: skip
    add(
        connection, "raw.simulation_scenarios", project_id=project, simulation_id=simulation, scenario_id=scenario,
        execution_order=1, status="completed",
    )  # fmt: skip
    outcome = add(
        connection, "raw.outcomes", project_id=project, simulation_id=simulation, scenario_id=scenario,
        execution_time=MOMENT, status="error", trajectory={**TRAJECTORY, "label": label}, score_raw=0,
        error_code=f"E {label}", **fixed("outcome_id"),
    )["outcome_id"]  # fmt: skip
    owner = {"project_id": project, "outcome_id": outcome, "execution_time": MOMENT}
    add(connection, "raw.tool_usage", call_number=1, tool_name=f"search {label}", status="ok", duration_ms=3, **owner)
    pattern = add(
        connection, "raw.failure_patterns", failure_type="timeout", failure_category="timeout",
        error_message=f"connection timed out {label}", error_template="connection timed out", cluster_id="c1",
        **owner, **fixed("pattern_id"),
    )["pattern_id"]  # fmt: skip
    recommendation = add(
        connection, "raw.recommendations", project_id=project, simulation_id=simulation, confidence=0.5,
        recommendation_type="config_change", description=f"Give it more time. {label}", **fixed("recommendation_id"),
    )["recommendation_id"]  # fmt: skip
    add_embedding(connection, project, "error", "c1", [1.0, 0.0, 0.0])
    return Evaluation(
        project, config, (first, second), diff, scenario, simulation, outcome, pattern, recommendation
    )  # fmt: skip


def add_embedding(connection: psycopg.Connection, project: str, kind: str, key: str, vector: list[float]) -> None:
    """A subject with a text of its own and its vector."""
    digest = connection.execute("select app.text_sha256(%s)", [f"{kind} {key}"]).fetchone()[0]
    add(connection, "raw.embeddings", project_id=project, model="test", content_hash=digest, embedding=str(vector))
    add(
        connection, "raw.embedding_subjects", project_id=project, subject_kind=kind, subject_key=key, model="test",
        content_hash=digest,
    )  # fmt: skip
