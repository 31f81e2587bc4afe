"""What a change of a configuration was: two versions, what was decided about it, what it did where it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from pipelines.enrichment.queries import load


class UnknownConfiguration(LookupError):
    """There is no such configuration, or not the versions to compare; the message says what there is."""


@dataclass(frozen=True)
class Version:
    """One version of a configuration."""

    config_id: UUID
    name: str
    version_id: UUID
    version_number: int
    raw_yaml: str
    parsed_config: dict[str, Any]
    model: str | None
    created_at: datetime


@dataclass(frozen=True)
class Decision:
    """What people decided about a change."""

    status: str
    decided_by: str | None
    decided_at: datetime | None


@dataclass(frozen=True)
class Measures:
    """A version's outcomes on the shared scenarios. Means are over the attempts that have the value; None without."""

    attempts: int
    failures: int
    """Errors and timeouts."""
    judged: int
    passed: int
    scored: int
    mean_score: Decimal | None
    mean_ms: float | None
    mean_tokens: Decimal | None
    mean_cost_usd: Decimal | None


@dataclass(frozen=True)
class Effect:
    """Outcomes of both versions on the scenarios that both met."""

    scenarios: int
    better: int
    """Scenarios with a higher mean score than before."""
    worse: int
    same: int
    before: Measures
    after: Measures


@dataclass(frozen=True)
class Change:
    """From one version to a later one of the same configuration."""

    before: Version
    after: Version
    decision: Decision | None
    """None where nobody was asked."""
    effect: Effect | None
    """None where no scenario was met by both."""


def read_change(
    connection: psycopg.Connection, *, project: str, configuration: str, numbers: tuple[int, int] | None
) -> Change:
    """The change between two versions, by their numbers, else between the last two.

    ``configuration`` is a name or an id. Raises UnknownConfiguration.
    """
    versions = _versions(connection, project, configuration, numbers)
    if len(versions) < 2:
        raise UnknownConfiguration(_missing(connection, project, configuration, numbers))
    after, before = versions
    keys = {"project": project, "before": before.version_id, "after": after.version_id}
    with connection.cursor(row_factory=class_row(Decision)) as cursor:
        decision = cursor.execute(load("config_decision"), keys).fetchone()
    with connection.cursor(row_factory=dict_row) as cursor:
        effect = _effect(cursor.execute(load("config_effect"), keys).fetchall())
    return Change(before, after, decision, effect)


def _versions(
    connection: psycopg.Connection, project: str, configuration: str, numbers: tuple[int, int] | None
) -> list[Version]:
    with connection.cursor(row_factory=class_row(Version)) as cursor:
        cursor.execute(
            load("config_versions"),
            {"project": project, "configuration": configuration, "numbers": list(numbers) if numbers else None},
        )
        return cursor.fetchall()


def _effect(rows: Sequence[Mapping[str, Any]]) -> Effect | None:
    if len(rows) < 2:
        return None
    before, after = (Measures(**{name: row[name] for name in Measures.__dataclass_fields__}) for row in rows)
    counts = {name: rows[0][name] for name in ("scenarios", "better", "worse", "same")}
    return Effect(**counts, before=before, after=after)


def _missing(connection: psycopg.Connection, project: str, configuration: str, numbers: tuple[int, int] | None) -> str:
    names = connection.execute(
        "select name from raw.configurations where project_id = %s order by updated_at desc limit 20", [project]
    ).fetchall()
    if not names:
        return (
            f"No configuration is in project {project} yet: ingest an evaluation first, with `tracemill ingest PATH`."
        )
    there = connection.execute(
        "select v.version_number from raw.config_versions as v "
        "join raw.configurations as c using (project_id, config_id) "
        "where c.project_id = %s and (c.name = %s or c.config_id::text = lower(%s)) and not v.is_deleted "
        "order by v.version_number",
        [project, configuration, configuration],
    ).fetchall()
    if not there:
        known = ", ".join(name for (name,) in names)
        return f"There is no configuration {configuration!r} in project {project}: choose one of {known}."
    if numbers is None:
        return f"{configuration!r} has one version only, so nothing has changed: ingest an evaluation of another one."
    return f"{configuration!r} has no such versions: choose two of {', '.join(str(number) for (number,) in there)}."
