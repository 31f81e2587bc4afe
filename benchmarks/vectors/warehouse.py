"""A warehouse of error vectors: one index for all projects, which are of very different size."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from benchmarks.measure import say
from benchmarks.vectors.errors import Texts
from pipelines.database import connect
from pipelines.enrichment.embedders.hashing import HashingEmbedder

MODEL = HashingEmbedder.model
DIMENSIONS = 1536
SHARES = {"most": 0.60, "quarter": 0.25, "tenth": 0.10, "some": 0.04, "few": 0.01}
"""Project → its part of all vectors."""
_BATCH = 2_000


def fill(dsn: str, rows: int) -> None:
    """Stores the vectors of ``rows`` different texts, spread over the projects by chance, and their subjects."""
    embedder = HashingEmbedder()
    texts = iter(Texts(seed=1).distinct(rows))
    owners = np.random.default_rng(2).choice(list(SHARES), size=rows, p=list(SHARES.values())).tolist()
    with connect(dsn) as connection:
        register_vector(connection)
        connection.execute(
            "create temporary table incoming (project_id text, content_hash text, embedding public.halfvec)"
        )
        with connection.cursor().copy("copy incoming from stdin (format binary)") as copy:
            copy.set_types(["text", "text", "halfvec"])
            for row in _rows(embedder, texts, owners):
                copy.write_row(row)
        connection.execute(
            "insert into raw.embeddings (project_id, model, content_hash, embedding) "
            "select project_id, %s, content_hash, embedding from incoming", [embedder.model],
        )  # fmt: skip
        connection.execute(
            "insert into raw.embedding_subjects (project_id, subject_kind, subject_key, model, content_hash) "
            "select project_id, 'error', content_hash, %s, content_hash from incoming", [embedder.model],
        )  # fmt: skip
        connection.execute(
            "insert into app.project_config (project_id, display_name) select unnest(%s::text[]), 'benchmark'",
            [list(SHARES)],
        )
    say(f"{rows:,} vectors stored")


def questions(count: int) -> list[HalfVector]:
    """Vectors of texts of the same kind that are not among the stored ones."""
    return [HalfVector(vector) for vector in HashingEmbedder().embed(Texts(seed=3).distinct(count))]


def tenant(connection: psycopg.Connection, project: str) -> None:
    """Makes the connection see ``project`` only, as an analyst does."""
    token = connection.execute("select app.open_session(%s)", [project]).fetchone()
    connection.execute("select set_config('app.token', %s, false)", [token and token[0]])
    connection.execute("set role app_readonly")


def _rows(
    embedder: HashingEmbedder, texts: Iterator[str], owners: Sequence[str]
) -> Iterator[tuple[str, str, HalfVector]]:
    number = 0
    while batch := list(islice(texts, _BATCH)):
        for vector in embedder.embed(batch):
            yield owners[number], f"{number:064x}", HalfVector(vector)
            number += 1
