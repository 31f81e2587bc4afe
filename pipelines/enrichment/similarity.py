"""Texts that are alike, by the cosine of their vectors, seen with the rights of the connection that asks.

A project with few vectors is compared row by row, which is exact and takes milliseconds. One with many is looked up
through HNSW, whose scan goes on past other projects' vectors until it has enough; should it give up before, the rows
are compared after all. So the answer is complete however small a part of the index a project is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import psycopg
from pgvector import HalfVector
from psycopg import sql
from psycopg.rows import class_row

from pipelines.enrichment.embedders import Embedder
from pipelines.enrichment.queries import load

Kind = Literal["failure", "scenario", "configuration", "trajectory"]
KINDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "failure": ("error", "tool_call", "execution"),
    "scenario": ("scenario",),
    "configuration": ("configuration",),
    "trajectory": ("trajectory",),
}
"""What can be asked for, and the kinds of subjects that it covers."""

EXACT_SUBJECTS: Final = 2_000
"""Up to so many subjects, comparing all takes less time than the index saves."""
EF_SEARCH: Final = 200
"""Candidates that HNSW keeps; benchmarks/vectors measures the recall that this gives."""


@dataclass(frozen=True)
class Neighbour:
    """A text near the one asked for."""

    content_hash: str
    similarity: float
    """Cosine: 1 for the same direction, 0 for nothing in common."""


@dataclass(frozen=True)
class _Described:
    content_hash: str
    subject_kind: str
    subject_key: str
    title: str
    content: str
    times: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class Alike:
    """A text like the one asked for, and what has it."""

    similarity: float
    subject_kind: str
    subject_key: str
    title: str
    """Category, tool or command of a failure; name of a scenario or configuration; scenario of a trajectory."""
    content: str
    times: int
    """How often the text occurs."""
    first_seen_at: datetime
    last_seen_at: datetime


def similar_failures(
    connection: psycopg.Connection, embedder: Embedder, text: str, *, project: str, limit: int = 10
) -> list[Alike]:
    """Failures of ``project`` whose error is like ``text``, nearest first; equal errors are one."""
    return find_alike(connection, embedder, text, project=project, kind="failure", limit=limit)


def find_alike(
    connection: psycopg.Connection, embedder: Embedder, text: str, *, project: str, kind: Kind, limit: int = 10
) -> list[Alike]:
    """What of ``kind`` has a text like ``text``, nearest first. Raises EmbedderError."""
    vector = HalfVector(embedder.embed([text])[0])
    near = nearest(connection, vector, project=project, model=embedder.model, kinds=KINDS[kind], limit=limit)
    with connection.cursor(row_factory=class_row(_Described)) as cursor:
        cursor.execute(
            load(f"alike/{kind}"),
            {"project": project, "model": embedder.model, "hashes": [found.content_hash for found in near]},
        )
        described = {row.content_hash: row for row in cursor}
    return [
        Alike(
            found.similarity, row.subject_kind, row.subject_key, row.title, row.content, row.times,
            row.first_seen_at, row.last_seen_at,
        )
        for found in near
        if (row := described.get(found.content_hash))
    ]  # fmt: skip


def vector_of(connection: psycopg.Connection, *, project: str, model: str, kind: str, key: str) -> HalfVector | None:
    """The stored vector of a subject; None where it has none."""
    row = connection.execute(
        "select embedding::text from raw.embeddings as e join raw.embedding_subjects as s "
        "using (project_id, model, content_hash) "
        "where project_id = %s and model = %s and s.subject_kind = %s and s.subject_key = %s",
        [project, model, kind, key],
    ).fetchone()
    return HalfVector.from_text(row[0]) if row else None


def nearest(
    connection: psycopg.Connection,
    vector: HalfVector,
    *,
    project: str,
    model: str,
    kinds: Sequence[str],
    limit: int = 10,
) -> list[Neighbour]:
    """The ``limit`` texts of ``project`` nearest to ``vector`` that subjects of ``kinds`` have, nearest first.

    Fewer only where the project has no more. A transaction that is open gets the settings of the scan.
    """
    wanted = {"project": project, "model": model, "kinds": list(kinds)}
    with connection.transaction():
        found = connection.execute(load("count_subjects"), {**wanted, "limit": EXACT_SUBJECTS + 1}).fetchone()
        if found is None or found[0] <= EXACT_SUBJECTS:
            return _search(connection, vector, wanted, limit, is_exact=True)
        near = _search(connection, vector, wanted, limit, is_exact=False)
        return near if len(near) >= limit else _search(connection, vector, wanted, limit, is_exact=True)


def _search(
    connection: psycopg.Connection, vector: HalfVector, wanted: Mapping[str, object], limit: int, *, is_exact: bool
) -> list[Neighbour]:
    dimensions = vector.dimensions()
    column = sql.SQL("e.embedding" if is_exact else "e.embedding::public.halfvec({})").format(dimensions)
    query = load("nearest").format(
        distance=sql.SQL("{} OPERATOR(public.<=>) %(vector)s::public.halfvec").format(column),
        model=sql.Literal(wanted["model"]),
        dimensions=sql.Literal(dimensions),
    )
    # The planner takes vectors for small values that are at hand, and would rather sort a tenth of them than use HNSW.
    connection.execute(
        "select set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %s, true), "
        "set_config('enable_sort', %s, true)",
        [str(max(EF_SEARCH, limit)), "on" if is_exact else "off"],
    )
    with connection.cursor(row_factory=class_row(Neighbour)) as cursor:
        cursor.execute(query, {**wanted, "vector": vector.to_text(), "limit": limit})
        return cursor.fetchall()
