"""Vectors for every text of the warehouse that has none yet, stored once per text.

The database finds the subjects that are new or have changed; their distinct texts are embedded batch by batch, and each
batch is committed with its subjects, so a run that is stopped goes on where it was. Runs of one model take turns: the
second finds nothing left to do, and no text is paid for twice. Memory is bounded by the batch.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from pipelines.database import connect
from pipelines.enrichment.embedders import Embedder, EmbedderError, choose
from pipelines.enrichment.queries import load
from pipelines.settings import Settings

SUBJECT_KINDS: Final = ("configuration", "scenario", "trajectory", "error", "tool_call", "execution")
LONGEST_TEXT: Final = 8_000
"""Characters of a text that are embedded: what common models read."""

BATCH_TEXTS: Final = 512
_MOST_DIMENSIONS: Final = 4_000


@dataclass(frozen=True)
class EmbeddingReport:
    """What one run did."""

    model: str
    subjects: Mapping[str, int]
    """Subjects by kind that got a vector, or another one because their text had changed."""
    embeddings: int
    """Vectors that were stored, one for each new text of a project."""
    removed: int
    """Vectors that no subject has any more."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report for machines."""
        return asdict(self)


def embed_missing(dsn: str, settings: Settings, *, projects: Sequence[str] | None = None) -> EmbeddingReport:
    """Brings the vectors of the settings' model up to date, in all projects or in those named.

    Raises EmbedderError when texts cannot be embedded; what was committed is kept.
    """
    started = time.monotonic()
    embedder = choose(settings.embedder)
    with connect(dsn, role="tracemill_ingest", autocommit=True) as connection:
        connection.execute(
            "select pg_advisory_lock(hashtextextended('tracemill.embeddings.' || %s, 0))", [embedder.model]
        )
        register_vector(connection)
        run = _Run(connection, embedder, projects)
        subjects = {kind: run.embed_kind(kind) for kind in SUBJECT_KINDS}
        removed = run.remove_unused()
        run.ensure_index()
    return EmbeddingReport(embedder.model, subjects, run.embeddings, removed, time.monotonic() - started)


class _Run:
    """One embedder at work on one connection, which is in autocommit."""

    def __init__(self, connection: psycopg.Connection, embedder: Embedder, projects: Sequence[str] | None) -> None:
        self._connection = connection
        self._embedder = embedder
        self._projects = None if projects is None else list(projects)
        self._dimensions = self._stored_dimensions()
        self.embeddings = 0

    def embed_kind(self, kind: str) -> int:
        """Embeds what is pending of one kind; returns the number of subjects written."""
        self._connection.execute("drop table if exists pg_temp.pending_subjects")
        self._connection.execute(
            load("find_pending").format(
                subjects=load(f"subjects/{kind}"),
                kind=kind,
                model=self._embedder.model,
                longest_text=LONGEST_TEXT,
                projects=self._projects,
            )
        )
        self._connection.execute("create index on pending_subjects (content_hash)")
        self._connection.execute("analyze pending_subjects")
        written, after = 0, ""
        while texts := self._next_texts(after):
            last = texts[-1][0]
            new = [(digest, text, projects) for digest, text, projects in texts if projects]
            vectors = self._vectors([text for _, text, _ in new]) if new else []
            with self._connection.transaction():
                self._store(
                    [(digest, vector, projects) for (digest, _, projects), vector in zip(new, vectors, strict=True)]
                )
                found = self._connection.execute(
                    load("store_subjects"), {"kind": kind, "model": self._embedder.model, "after": after, "last": last}
                )
                written += _number(found)
            after = last
        return written

    def remove_unused(self) -> int:
        """Removes subjects that are gone, then vectors without subject; returns the number of vectors."""
        with self._connection.transaction():
            for kind in SUBJECT_KINDS:
                self._connection.execute(
                    load("drop_vanished_subjects").format(
                        subjects=load(f"subjects/{kind}"),
                        kind=kind,
                        model=self._embedder.model,
                        projects=self._projects,
                    )
                )
            return self._connection.execute(load("drop_unused_embeddings"), {"model": self._embedder.model}).rowcount

    def ensure_index(self) -> None:
        """The HNSW index of the model, as soon as there is a vector."""
        if self._dimensions is not None:
            self._connection.execute(
                "select ops.ensure_embedding_index(%s, %s)", [self._embedder.model, self._dimensions]
            )

    def _next_texts(self, after: str) -> list[tuple[str, str, list[str] | None]]:
        """Hash, text, and projects in which the text has no vector, if any, of the texts that follow ``after``."""
        return self._connection.execute(
            load("next_texts"), {"model": self._embedder.model, "after": after, "limit": BATCH_TEXTS}
        ).fetchall()

    def _vectors(self, texts: list[str]) -> list[HalfVector]:
        vectors = self._embedder.embed(texts)
        dimensions = vectors.shape[1]
        if dimensions > _MOST_DIMENSIONS:
            raise EmbedderError(
                f"The model {self._embedder.model!r} gives {dimensions} dimensions, at most {_MOST_DIMENSIONS} can be "
                "indexed: set TRACEMILL_EMBEDDING_MODEL to another."
            )
        if self._dimensions not in (None, dimensions):
            raise EmbedderError(
                f"The model {self._embedder.model!r} gives {dimensions} dimensions, but {self._dimensions} are stored "
                "under its name: set TRACEMILL_EMBEDDING_MODEL to the model that made those, or to another name."
            )
        self._dimensions = dimensions
        return [HalfVector(vector) for vector in vectors]

    def _store(self, rows: list[tuple[str, HalfVector, list[str] | None]]) -> None:
        """COPY does not go into a table with row-level security, so the rows take two steps."""
        self._connection.execute(
            "create temporary table new_embeddings (project_id text, content_hash text, embedding public.halfvec) "
            "on commit drop"
        )
        with self._connection.cursor().copy("copy new_embeddings from stdin (format binary)") as copy:
            copy.set_types(["text", "text", "halfvec"])
            for digest, vector, projects in rows:
                for project in projects or ():
                    copy.write_row((project, digest, vector))
        self.embeddings += _number(self._connection.execute(load("store_batch"), {"model": self._embedder.model}))

    def _stored_dimensions(self) -> int | None:
        row = self._connection.execute(
            "select dimensions from raw.embeddings where model = %s limit 1", [self._embedder.model]
        ).fetchone()
        return row[0] if row else None


def _number(cursor: psycopg.Cursor) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0
