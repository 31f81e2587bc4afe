"""Every text gets one vector, whoever asks and however often; what is stored follows what the texts become."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest
from pgvector import HalfVector

from pipelines.database import connect
from pipelines.enrichment import EmbedderError, embed_missing, embeddings, vector_of
from pipelines.enrichment.embedders.hashing import HashingEmbedder
from pipelines.settings import EmbedderSettings, Settings
from tests import raw_rows
from tests.embedding_endpoint import answer, serving, status
from tests.evaluation_rows import Evaluation, add_outcome, value
from tests.evaluation_tenants import fill

MODEL = HashingEmbedder.model
ALL_SUBJECTS = """
select project_id, 'configuration', version_id::text from raw.config_versions
union all select project_id, 'scenario', scenario_id from raw.scenarios
union all select project_id, 'trajectory', outcome_id::text from raw.outcomes
union all select distinct project_id, 'error', coalesce(cluster_id, pattern_id::text) from raw.failure_patterns
union all select project_id, 'tool_call', tool_use_id from raw.tool_calls where error_message is not null
union all select project_id, 'execution', id::text from raw.command_executions where error_message is not null
"""


@pytest.fixture
def owner(dsn: str) -> Iterator[psycopg.Connection]:
    with connect(dsn, autocommit=True) as opened:
        yield opened


@pytest.fixture
def made(owner: psycopg.Connection) -> dict[str, Evaluation]:
    """Two projects with the same ids, and coding agents' failures in others."""
    found = fill(owner, {"alpha": 3, "beta": 2})
    owner.execute("delete from raw.embeddings")
    raw_rows.insert(owner, raw_rows.Volume(date(2026, 3, 2), days=1, executions_per_day=60))
    owner.execute("update raw.tool_calls set error_message = 'no rule for ' || tool_name where status = 'error'")
    assert value(owner, "select count(*) from raw.tool_calls where error_message is not null") > 0
    owner.execute(
        "update raw.command_executions set error_message = 'API error 529: overloaded' where status = 'failed'"
    )
    assert value(owner, "select count(*) from raw.command_executions where error_message is not null") > 0
    return found


def stored(connection: psycopg.Connection, model: str = MODEL) -> list[tuple[object, ...]]:
    return connection.execute(
        "select project_id, content_hash, embedding::text, created_at from raw.embeddings where model = %s "
        "order by project_id, content_hash",
        [model],
    ).fetchall()


def subjects(connection: psycopg.Connection, model: str = MODEL) -> set[tuple[object, ...]]:
    return set(
        connection.execute(
            "select project_id, subject_kind, subject_key from raw.embedding_subjects where model = %s", [model]
        )
    )


def test_every_subject_has_the_vector_of_its_text_and_equal_texts_have_one(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    report = embed_missing(settings.database_url, settings)
    assert subjects(owner) == set(owner.execute(ALL_SUBJECTS))
    assert sum(report.subjects.values()) == len(subjects(owner))
    assert report.embeddings == len(stored(owner)) < len(subjects(owner))
    text = "Book a flight\nBook the cheapest flights to Lisbon. secret of beta"
    found = vector_of(owner, project="beta", model=MODEL, kind="scenario", key="book_a_flight")
    assert found == HalfVector(HashingEmbedder().embed([text])[0])
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert [row[0] for row in stored(owner) if row[1] == digest] == ["beta"]
    index = value(owner, "select indexdef from pg_indexes where schemaname = 'raw' and indexdef like '%%hnsw%%'")
    assert "halfvec_cosine_ops" in index
    assert f"(model = '{MODEL}'::text)" in index


def test_projects_that_are_not_named_are_left_alone(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    embed_missing(settings.database_url, settings)
    before = stored(owner)
    owner.execute("update raw.scenarios set task_prompt = 'another', updated_at = updated_at + interval '1 s'")
    owner.execute("delete from raw.tool_calls")
    embed_missing(settings.database_url, settings, projects=["beta"])
    changed = {row[0] for row in set(before) ^ set(stored(owner))}
    assert changed == {"beta"}
    assert embed_missing(settings.database_url, settings).subjects["scenario"] > 0


def test_the_words_of_a_trajectory_count_and_its_field_names_do_not(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    trajectory = {"start_time": "x", "status": "success", "steps": [{"tool": "search", "arguments": {"to": "Lisbon"}}]}
    outcome = add_outcome(owner, made["alpha"], epoch=9, trajectory=trajectory, error_code="E7")
    embed_missing(settings.database_url, settings)
    found = vector_of(owner, project="alpha", model=MODEL, kind="trajectory", key=str(outcome["outcome_id"]))
    words = "success\nE7\nsearch\nLisbon\nsuccess\nx"  # jsonb keeps shorter names first
    assert found == HalfVector(HashingEmbedder().embed([words])[0])


def test_a_second_run_changes_nothing(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    embed_missing(settings.database_url, settings)
    before = stored(owner)
    report = embed_missing(settings.database_url, settings)
    assert report.embeddings == report.removed == sum(report.subjects.values()) == 0
    assert stored(owner) == before


def test_runs_at_the_same_time_store_each_text_once(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    with serving(answer) as endpoint, ThreadPoolExecutor(4) as pool:
        remote = replace(settings, embedder=EmbedderSettings("openai", "m", endpoint.url))
        reports = list(pool.map(lambda _: embed_missing(settings.database_url, remote), range(4)))
        sent = [text for request in endpoint.requests for text in request["input"]]
    assert subjects(owner, "m") == set(owner.execute(ALL_SUBJECTS))
    assert sum(report.embeddings for report in reports) == len(stored(owner, "m"))
    assert len(sent) == len(set(sent)), "a text was paid for twice"


def test_a_text_that_changes_gets_another_vector_and_the_old_one_goes(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    embed_missing(settings.database_url, settings)
    before = {row[:2] for row in stored(owner)}
    owner.execute("update raw.scenarios set task_prompt = 'Cancel the hotel' where project_id = 'alpha'")
    owner.execute("update raw.scenarios set tags = '{new}' where project_id = 'beta'")
    report = embed_missing(settings.database_url, settings)
    assert (report.embeddings, report.removed) == (1, 1)
    digest = hashlib.sha256(b"Book a flight\nCancel the hotel").hexdigest()
    assert {row[:2] for row in stored(owner)} - before == {("alpha", digest)}
    assert sum(embed_missing(settings.database_url, settings).subjects.values()) == 0


def test_vectors_go_with_their_subjects(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    embed_missing(settings.database_url, settings)
    owner.execute("delete from raw.simulations where project_id = 'alpha'")
    embed_missing(settings.database_url, settings)
    assert subjects(owner) == set(owner.execute(ALL_SUBJECTS))
    assert not [row for row in subjects(owner) if row[:2] in (("alpha", "error"), ("alpha", "trajectory"))]
    assert {row[:2] for row in stored(owner)} == set(
        owner.execute("select project_id, content_hash from raw.embedding_subjects")
    )


def test_what_was_embedded_before_a_failure_is_kept_and_not_paid_for_again(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "BATCH_TEXTS", 2)
    with serving(answer, answer, status(400, "quota"), answer) as endpoint:
        remote = replace(settings, embedder=EmbedderSettings("openai", "m", endpoint.url))
        with pytest.raises(EmbedderError, match="quota"):
            embed_missing(settings.database_url, remote)
        assert len({row[1] for row in stored(owner, "m")}) == 4
        refused = endpoint.requests[2]["input"]
        embed_missing(settings.database_url, remote)
        sent = [text for request in endpoint.requests for text in request["input"]]
    assert subjects(owner, "m") == set(owner.execute(ALL_SUBJECTS))
    assert sorted(sent) == sorted([*set(sent), *refused])


def test_a_model_that_changes_its_dimensions_is_refused(
    settings: Settings, owner: psycopg.Connection, made: dict[str, Evaluation]
) -> None:
    with serving(answer) as endpoint:
        remote = replace(settings, embedder=EmbedderSettings("openai", "m", endpoint.url))
        embed_missing(settings.database_url, remote)
        owner.execute("update raw.scenarios set name = 'another'")
        endpoint.answers[:] = [
            lambda request: (
                200,
                {"data": [{"index": n, "embedding": [1.0] * 5} for n in range(len(request["input"]))]},
            )
        ]
        with pytest.raises(EmbedderError, match="gives 5 dimensions, but 3 are stored"):
            embed_missing(settings.database_url, remote)


def test_an_empty_warehouse_needs_no_vector(settings: Settings, owner: psycopg.Connection, tmp_path: Path) -> None:
    report = embed_missing(settings.database_url, settings)
    assert report.embeddings == 0
    assert value(owner, "select count(*) from pg_indexes where indexdef like '%%hnsw%%'") == 0
