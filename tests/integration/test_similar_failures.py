"""Nearest texts as an analyst gets them: the right ones, all that were asked for, and never a neighbour's."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import numpy as np
import psycopg
import pytest
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from pipelines.database import connect
from pipelines.enrichment import embed_missing, find_alike, nearest, similar_failures, similarity, vector_of
from pipelines.enrichment.embedders.hashing import HashingEmbedder
from pipelines.settings import load
from tests.evaluation_tenants import fill, member

MODEL = HashingEmbedder.model
CROWD, FEW, DIMENSIONS = 3_000, 30, 16
"""Vectors of the large project, which all lie nearer to the question than the small project's few."""


@pytest.fixture(scope="module")
def world(migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[tuple[str, str]]:
    """DSNs of the owner and of a member of alpha, in a warehouse where alpha and beta have the same ids."""
    with migrated_database() as dsn, ExitStack() as logins:
        with connect(dsn, autocommit=True) as owner:
            fill(owner, {"alpha": 3, "beta": 3})
            owner.execute("insert into app.project_config values ('crowd', 'crowd'), ('few', 'few')")
            _add_vectors(owner)
            embed_missing(dsn, load({}))
            owner.execute("select ops.ensure_embedding_index('points', %s)", [DIMENSIONS])
            owner.execute("analyze")
        yield dsn, logins.enter_context(member(dsn, f"analyst_{os.urandom(4).hex()}", "alpha", "few"))


@pytest.fixture
def analyst(world: tuple[str, str]) -> Iterator[psycopg.Connection]:
    """Member of alpha and few, as app_readonly."""
    with connect(world[1], role="app_readonly", autocommit=True) as opened:
        yield opened


def _add_vectors(owner: psycopg.Connection) -> None:
    """The crowd points where the question points, with a little noise; the few point anywhere."""
    random = np.random.default_rng(5)
    vectors = np.concatenate(
        [_question() + random.normal(0, 0.05, (CROWD, DIMENSIONS)), random.normal(0, 1, (FEW, DIMENSIONS))]
    )
    register_vector(owner)
    owner.execute("create temporary table points (project_id text, content_hash text, embedding public.halfvec)")
    with owner.cursor().copy("copy points from stdin (format binary)") as copy:
        copy.set_types(["text", "text", "halfvec"])
        for number, vector in enumerate(vectors):
            copy.write_row(("crowd" if number < CROWD else "few", f"{number:064x}", HalfVector(vector)))
    owner.execute(
        "insert into raw.embeddings (project_id, model, content_hash, embedding) "
        "select project_id, 'points', content_hash, embedding from points"
    )
    owner.execute(
        "insert into raw.embedding_subjects (project_id, subject_kind, subject_key, model, content_hash) "
        "select project_id, 'error', content_hash, 'points', content_hash from points"
    )


def _question() -> np.ndarray:
    return np.eye(1, DIMENSIONS, dtype=np.float32)[0]


def _exact(dsn: str, project: str, limit: int) -> list[str]:
    """Nearest hashes, computed here from the stored numbers."""
    with connect(dsn) as owner:
        rows = owner.execute(
            "select content_hash, embedding::text from raw.embeddings where model = 'points' and project_id = %s",
            [project],
        ).fetchall()
    matrix = np.array([HalfVector.from_text(text).to_numpy() for _, text in rows], dtype=np.float64)
    order = np.argsort(-(matrix @ _question()) / np.linalg.norm(matrix, axis=1))
    return [rows[place][0] for place in order[:limit]]


def test_failures_like_a_text_come_nearest_first_with_how_often_they_occurred(
    world: tuple[str, str], analyst: psycopg.Connection
) -> None:
    with connect(world[0]) as owner:
        owner.execute(
            "insert into raw.failure_patterns (project_id, outcome_id, execution_time, failure_type, failure_category, "
            "error_message, error_template, cluster_id) select project_id, outcome_id, execution_time, failure_type, "
            "failure_category, 'KeyError: 7', 'KeyError: <n>', 'c2' "
            "from raw.failure_patterns where project_id = 'alpha'"
        )
        owner.execute(
            "insert into raw.failure_patterns (project_id, outcome_id, execution_time, failure_type, failure_category, "
            "error_message, error_template, cluster_id) select project_id, outcome_id, execution_time, failure_type, "
            "failure_category, 'connection timed out at last', error_template, cluster_id from raw.failure_patterns "
            "where project_id = 'alpha' and cluster_id = 'c1'"
        )
    embed_missing(world[0], load({}))
    first, second = similar_failures(analyst, HashingEmbedder(), "the connection timed out", project="alpha")
    assert (first.subject_key, first.times, first.title) == ("c1", 2, "timeout")
    assert (second.subject_key, second.times, second.content) == ("c2", 1, "KeyError: 7")
    assert 1 >= first.similarity > 0.5 > second.similarity


@pytest.mark.parametrize("kind", ["scenario", "configuration", "trajectory"])
def test_other_kinds_are_found_by_their_own_texts(analyst: psycopg.Connection, kind: str) -> None:
    texts = {
        "scenario": "Book the cheapest flights to Lisbon. secret of alpha",
        "configuration": "model: n # secret of alpha",
        "trajectory": "error E secret of alpha",
    }
    found = find_alike(analyst, HashingEmbedder(), texts[kind], project="alpha", kind=kind)
    assert found[0].similarity > 0.5
    assert {row.subject_kind for row in found} == {kind}
    assert "alpha" in f"{found[0].title} {found[0].content}" or kind == "trajectory"


class TestNeighbours:
    """What a member of alpha can learn of beta, whose ids it knows."""

    def test_asking_for_another_project_finds_nothing(self, analyst: psycopg.Connection) -> None:
        for kind in similarity.KINDS:
            assert find_alike(analyst, HashingEmbedder(), "secret of beta", project="beta", kind=kind) == []
            for row in find_alike(analyst, HashingEmbedder(), "secret of beta", project="alpha", kind=kind):
                assert "beta" not in f"{row.title} {row.content}"

    def test_the_vector_of_another_projects_subject_is_not_there(self, analyst: psycopg.Connection) -> None:
        wanted = {"model": MODEL, "kind": "scenario", "key": "book_a_flight"}
        assert vector_of(analyst, project="alpha", **wanted) is not None
        assert vector_of(analyst, project="beta", **wanted) is None

    def test_the_index_gives_away_no_neighbour_without_a_filter(self, analyst: psycopg.Connection) -> None:
        analyst.execute("set enable_seqscan = off")
        analyst.execute("set hnsw.iterative_scan = relaxed_order")
        rows = analyst.execute(
            "select project_id from raw.embeddings where model = 'points' and dimensions = 16 "
            "order by embedding::halfvec(16) <=> %s::halfvec limit 50", [HalfVector(_question()).to_text()]
        ).fetchall()  # fmt: skip
        assert {project for (project,) in rows} <= {"few"}


class TestCompleteness:
    @pytest.mark.parametrize("exact_subjects", [0, similarity.EXACT_SUBJECTS], ids=["index", "exact"])
    @pytest.mark.parametrize(("limit", "given"), [(10, 10), (FEW, FEW), (FEW + 5, FEW)])
    def test_a_small_project_behind_a_crowd_of_nearer_neighbours_gets_all_it_asked_for(
        self, world: tuple[str, str], analyst: psycopg.Connection, monkeypatch: pytest.MonkeyPatch,
        exact_subjects: int, limit: int, given: int,
    ) -> None:  # fmt: skip
        monkeypatch.setattr(similarity, "EXACT_SUBJECTS", exact_subjects)
        wanted = {"project": "few", "model": "points", "kinds": ["error"], "limit": limit}
        found = nearest(analyst, HalfVector(_question()), **wanted)
        assert len(found) == given
        expected = _exact(world[0], "few", given)
        assert len({row.content_hash for row in found} & set(expected)) >= 0.9 * given
        if exact_subjects:
            assert [row.content_hash for row in found] == expected

    def test_only_kinds_that_were_asked_for_count(
        self, analyst: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(similarity, "EXACT_SUBJECTS", 0)
        wanted = {"project": "few", "model": "points", "limit": 5}
        assert nearest(analyst, HalfVector(_question()), kinds=["scenario"], **wanted) == []

    def test_a_large_project_is_looked_up_through_the_index(
        self, world: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(similarity, "EXACT_SUBJECTS", 0)
        with connect(world[0], autocommit=True) as owner:
            scans = "select idx_scan from pg_stat_user_indexes where indexrelname like 'embeddings_16_%%'"
            before = owner.execute(scans).fetchone()[0]
            found = nearest(owner, HalfVector(_question()), project="crowd", model="points", kinds=["error"])
            owner.execute("select pg_stat_force_next_flush()")
            assert owner.execute(scans).fetchone()[0] > before
        exact = set(_exact(world[0], "crowd", 10))
        assert len({row.content_hash for row in found} & exact) >= 9
