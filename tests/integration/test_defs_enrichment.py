"""Vectors as an asset: made after the raw tables they rest on, counted, and checked against the texts themselves."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg
import pytest

from pipelines.database import connect
from pipelines.defs.resources import Warehouse
from pipelines.enrichment.embedders.hashing import HashingEmbedder
from pipelines.samples import agent_evaluations
from tests.dagster_world import LAST_DAY, World, dagster_world

EMBEDDINGS = dg.AssetKey(["raw", "embeddings"])
MISSING = """
select count(*) from (
    select project_id, 'configuration' as kind, version_id::text as key from raw.config_versions
    union all select project_id, 'scenario', scenario_id from raw.scenarios
    union all select project_id, 'trajectory', outcome_id::text from raw.outcomes
    union all select distinct project_id, 'error', coalesce(cluster_id, pattern_id::text) from raw.failure_patterns
    union all select project_id, 'tool_call', tool_use_id from raw.tool_calls where error_message is not null
    union all select project_id, 'execution', id::text from raw.command_executions where error_message is not null
) as s
where not exists (
    select from raw.embedding_subjects as e join raw.embeddings as v using (project_id, model, content_hash)
    where e.project_id = s.project_id and e.subject_kind = s.kind and e.subject_key = s.key and e.model = %s
)
"""


@pytest.fixture(scope="module")
def world(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with dagster_world(migrated_database, tmp_path_factory.mktemp("world"), days=2, size_bytes=150_000) as made:
        agents = made.settings.home / "storefront"
        agent_evaluations.write(agents, last_day=LAST_DAY, days=8)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRACEMILL_EVALUATION_FOLDERS", str(agents))
            yield made


@pytest.fixture(scope="module")
def instance(world: World) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture(scope="module")
def definitions(world: World) -> dg.Definitions:
    from pipelines.definitions import defs

    return defs


@pytest.fixture(scope="module")
def ingested(
    world: World, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> Iterator[dg.ExecuteInProcessResult]:
    """The samples, ingested by the job."""
    yield definitions.resolve_job_def("ingest_logs").execute_in_process(instance=instance)


def check_vectors(instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    """The asset's checks alone, by name."""
    from pipelines.defs.enrichment import embedding_checks, embeddings

    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(*embedding_checks.check_keys))
    job = dg.Definitions(
        assets=[embeddings], asset_checks=[embedding_checks], jobs=[alone], resources={"warehouse": Warehouse()},
        executor=dg.in_process_executor,
    ).resolve_job_def("alone")  # fmt: skip
    return {
        evaluation.check_name: evaluation
        for evaluation in job.execute_in_process(instance=instance).get_asset_check_evaluations()
    }


def test_vectors_follow_the_raw_tables_whose_texts_they_are(definitions: dg.Definitions) -> None:
    node = definitions.resolve_asset_graph().get(EMBEDDINGS)
    assert node.group_name == "enrichment"
    assert {key.path[-1] for key in node.parent_keys} == {
        "config_versions", "scenarios", "outcomes", "failure_patterns", "tool_calls", "command_executions",
    }  # fmt: skip


def test_ingest_leaves_no_text_without_a_vector_and_says_how_many_there_are(
    world: World, instance: dg.DagsterInstance, ingested: dg.ExecuteInProcessResult
) -> None:
    assert ingested.success
    with connect(world.dsn) as connection:
        assert connection.execute(MISSING, [HashingEmbedder.model]).fetchone() == (0,)
        counted = connection.execute("select count(*), min(dimensions), max(dimensions) from raw.embeddings").fetchone()
        kinds = connection.execute(
            "select subject_kind, count(*) from raw.embedding_subjects group by subject_kind"
        ).fetchall()
    assert counted is not None
    assert counted[0] > 20
    assert counted[1:] == (1536, 1536)
    event = instance.get_latest_materialization_event(EMBEDDINGS)
    assert event is not None
    assert event.asset_materialization is not None
    metadata: dict[str, Any] = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert metadata["dagster/row_count"] == metadata["inserted"] == counted[0]
    assert {kind: number for kind, number in metadata["subjects"].items() if number} == dict(kinds)
    checks = [check for check in ingested.get_asset_check_evaluations() if check.asset_key == EMBEDDINGS]
    assert {check.check_name: check.passed for check in checks} == {
        "covers_every_subject": True,
        "has_one_length": True,
    }


def test_the_checks_name_a_subject_without_its_vector_and_vectors_that_do_not_compare(
    world: World, instance: dg.DagsterInstance, ingested: dg.ExecuteInProcessResult
) -> None:
    with connect(world.dsn, autocommit=True) as connection:
        connection.execute(
            "update raw.scenarios set task_prompt = 'something else', updated_at = now() + '1 s' "
            "where scenario_id = 'where-is-it'"
        )
        connection.execute(
            "insert into raw.embeddings (project_id, model, content_hash, embedding) "
            "values ('storefront', %s, repeat('0', 64), '[1, 0, 0]')",
            [HashingEmbedder.model],
        )
    found = check_vectors(instance)
    assert {name: check.passed for name, check in found.items()} == {
        "covers_every_subject": False,
        "has_one_length": False,
    }
    assert found["covers_every_subject"].severity == dg.AssetCheckSeverity.WARN
    assert found["covers_every_subject"].metadata["subjects"].value == {"scenario": 1}
    assert found["covers_every_subject"].metadata["example"].value == "scenario storefront where-is-it"
    assert found["has_one_length"].metadata["vectors"].value.keys() == {"3", "1536"}


def test_an_embedder_that_cannot_be_used_ends_the_run_with_a_sentence(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    ingested: dg.ExecuteInProcessResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRACEMILL_EMBEDDER", "openai")
    monkeypatch.setenv("TRACEMILL_EMBEDDING_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("TRACEMILL_EMBEDDING_MODEL", "nobody-home")
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[EMBEDDINGS], raise_on_error=False
    )
    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_FAILURE]
    error = failure.step_failure_data.user_failure_data
    assert error is not None
    assert "127.0.0.1:9" in str(error.description)
