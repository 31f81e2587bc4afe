"""Whether every subject has the vector of its text, and whether the vectors of a model compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from pipelines.enrichment.embeddings import LONGEST_TEXT, SUBJECT_KINDS
from pipelines.enrichment.queries import load


@dataclass(frozen=True)
class Coverage:
    """How far the vectors of one model go, in all projects."""

    model: str
    missing: Mapping[str, int]
    """Subjects by kind that have no vector, or one of an earlier text; kinds without any are left out."""
    example: str | None
    """Project, kind and key of one of them."""
    vectors: Mapping[int, int]
    """Vectors by their dimensions: only those of equal dimensions compare."""

    @property
    def subjects_missing(self) -> int:
        """Of all kinds."""
        return sum(self.missing.values())


def read_coverage(connection: psycopg.Connection, model: str) -> Coverage:
    """What the vectors of ``model`` cover, asked as tracemill_ingest; reads only subjects that have none."""
    missing: dict[str, int] = {}
    examples: list[str] = []
    for kind in SUBJECT_KINDS:
        found, example = _pending(connection, model, kind)
        if found:
            missing[kind] = found
            examples.append(f"{kind} {example}")
    vectors: Sequence[tuple[int, int]] = connection.execute(
        "select dimensions, count(*) from raw.embeddings where model = %s group by dimensions order by dimensions",
        [model],
    ).fetchall()
    return Coverage(model, missing, examples[0] if examples else None, dict(vectors))


def _pending(connection: psycopg.Connection, model: str, kind: str) -> tuple[int, str | None]:
    """Number of subjects that wait, and one of them, found as they are found to be embedded."""
    with connection.transaction(force_rollback=True):
        connection.execute(
            load("find_pending").format(
                subjects=load(f"subjects/{kind}"), kind=kind, model=model, longest_text=LONGEST_TEXT, projects=None
            )
        )
        row = connection.execute(
            "select count(*), min(project_id || ' ' || subject_key) from pending_subjects"
        ).fetchone()
    return row if row else (0, None)
