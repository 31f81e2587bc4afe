"""tau-bench, tau2, arc-eval and JSONL → raw tables: what the files hold, once, and the bad lines in quarantine."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.samples import agent_evaluations
from pipelines.settings import REPOSITORY, Settings
from tests import warehouse

TABLES = (
    "configurations", "config_versions", "config_diffs", "scenarios", "simulations", "simulation_scenarios", "outcomes",
    "tool_usage", "failure_patterns",
)  # fmt: skip


def run(settings: Settings, *paths: Path, **options: Any) -> ingest.IngestReport:
    return ingest.run(paths, dsn=settings.database_url, settings=settings, **{"jobs": 1, **options})


def one(connection: psycopg.Connection, query: str) -> tuple[Any, ...]:
    (row,) = connection.execute(query).fetchall()
    return tuple(row)


def contents(connection: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {table: warehouse.rows_of(connection, "raw", table, without={"updated_at"}) for table in TABLES}


def test_the_samples_are_loaded_as_they_were_made(settings, connection, tmp_path):
    truth = agent_evaluations.write(tmp_path / "storefront")
    report = run(settings, tmp_path)
    assert not report.problems
    assert one(connection, "select count(*), array_agg(distinct project_id) from raw.simulations") == (
        truth.simulations, ["storefront"],
    )  # fmt: skip
    *counts, cost = one(
        connection,
        "select count(*), count(is_passed), count(*) filter (where is_passed), "
        "count(*) filter (where status in ('error', 'timeout')), "
        "sum(output_tokens), sum(cost_usd) filter (where cost_status = 'reported') from raw.outcomes",
    )
    assert counts == [truth.outcomes, truth.judged, truth.passed, truth.unfinished, truth.output_tokens]
    assert float(cost) == pytest.approx(truth.cost_usd, abs=1e-9)
    assert one(connection, "select count(*), count(*) filter (where status = 'error') from raw.tool_usage") == (
        truth.tool_calls,
        truth.tool_errors,
    )
    assert one(connection, "select count(distinct outcome_id) from raw.failure_patterns") == (truth.unfinished,)
    assert one(
        connection,
        "select max(version_number), count(distinct d.diff_id) from raw.config_versions as v "
        "inner join raw.configurations as c using (project_id, config_id) "
        "left join raw.config_diffs as d using (project_id, config_id) where c.name = 'support agent'",
    ) == (3, 2)
    failures = connection.execute(
        "select failure_category, error_template, count(*) from raw.failure_patterns as f "
        "join raw.outcomes as o using (project_id, outcome_id, execution_time) "
        "join raw.simulations as s using (project_id, simulation_id) where s.source = 'evaluation_jsonl' group by 1, 2"
    ).fetchall()
    assert {(category, template): number for category, template, number in failures} == truth.failures
    assert len({category for category, _ in truth.failures}) == 5
    assert one(connection, "select count(*) from raw.simulations where status = 'running'") == (truth.running,) == (1,)


def test_the_same_bytes_are_written_every_time(tmp_path):
    first, second = agent_evaluations.write(tmp_path / "a"), agent_evaluations.write(tmp_path / "b")
    assert first.outcomes == second.outcomes > 50
    for path in (path for path in (tmp_path / "a").rglob("*") if path.is_file()):
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert (path.read_bytes(), path.stat().st_mtime) == (twin.read_bytes(), twin.stat().st_mtime)


def test_reading_everything_again_changes_nothing(settings, connection, tmp_path):
    agent_evaluations.write(tmp_path / "storefront")
    run(settings, tmp_path)
    before = contents(connection)
    assert run(settings, tmp_path).files_by_state["new"] == 0
    shutil.copytree(tmp_path / "storefront", tmp_path / "elsewhere" / "storefront")
    report = run(settings, tmp_path / "elsewhere")
    assert report.files_by_state["new"] > 0
    connection.rollback()
    assert contents(connection) == before


def test_the_corpus_is_loaded_in_full(settings, connection, corpus):
    report = run(settings, corpus / "tau_bench", corpus / "arc_eval")
    assert not report.problems
    assert one(
        connection,
        "select count(*), count(*) filter (where is_passed) from raw.outcomes where project_id = 'tau_bench'",
    ) == (200, 84)
    assert one(connection, "select count(*) from raw.tool_usage where project_id = 'tau_bench'") == (1164,)
    assert one(connection, "select count(*) from raw.outcomes where project_id <> 'tau_bench'") == (143,)


def test_the_sample_of_the_page_is_ingested(settings, connection, tmp_path):
    page = (REPOSITORY / "docs" / "formats" / "evaluation-jsonl.md").read_text()
    (tmp_path / "support").mkdir()
    (tmp_path / "support" / "sample.jsonl").write_text(page.partition("```jsonl\n")[2].partition("```")[0])
    assert not run(settings, tmp_path).problems
    assert one(
        connection,
        "select count(*), sum(tokens_used), count(*) filter (where cost_status = 'computed') from raw.outcomes",
    ) == (3, 2100 + 240 + 1900 + 310, 2)
    assert one(
        connection,
        "select count(*) filter (where (price_version is not null) <> (cost_status = 'computed')), "
        "bool_and(price_version like 'genai-prices %') from raw.outcomes",
    ) == (0, True)
    assert one(connection, "select failure_type, failure_category from raw.failure_patterns") == (
        "ToolTimeout",
        "timeout",
    )


def test_bad_lines_are_quarantined_and_the_rest_is_loaded(settings, connection, tmp_path):
    simulation = {"type": "simulation", "id": "r1", "config": {"model": "m"}, "scenarios": ["s", "nobody"]}
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{after}: &{after} [{', '.join([f'*{name}'] * 10)}]\n"
        for name, after in zip("abcdefg", "bcdefgh", strict=True)
    )
    lines = [
        simulation,
        {"type": "scenario", "id": "s", "prompt": "q"},
        {"type": "outcome", "scenario": "s", "score": 0.5},
        {"type": "outcome", "scenario": "s", "epoch": 2, "score": 1.5},
        {"type": "outcome", "scenario": "nobody"},
        {"type": "simulation", "id": "r2", "config": bomb},
        {"type": "simulation", "id": "r3", "config": "x: " + "y" * 5_000_000},
        {"type": "simulation", "id": "r4", "config": {"model": "m"}, "started_at": "2026-03-02T00:00:00Z",
         "completed_at": "2026-03-01T00:00:00Z"},
        {"type": "outcome", "simulation": "r9", "scenario": "s"},
    ]  # fmt: skip
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = run(settings, path, project="shop")
    connection.rollback()
    rows = connection.execute("select line_number, reason from ops.quarantined_records order by 1, 2").fetchall()
    assert rows == [
        (1, "unknown_scenario"),
        (5, "unknown_scenario"),
        (6, "configuration_refused"),
        (7, "configuration_refused"),
        (8, "ends_before_start"),
        (9, "unknown_simulation"),
    ]
    assert report.quarantined == len(rows)
    assert one(connection, "select count(*), sum(score_raw), sum(reliability_score) from raw.outcomes") == (2, 2, 0.5)
    assert one(connection, "select array_agg(source_key) from raw.simulations") == (["r1"],)


def test_an_id_that_looks_like_a_secret_costs_no_document(settings, connection, tmp_path):
    path = tmp_path / "own.jsonl"
    lines = [
        {"type": "simulation", "id": "r1", "config": {"model": "m"}, "scenarios": ["password:too-short"]},
        {"type": "scenario", "id": "password:too-short", "prompt": "q"},
        {"type": "outcome", "scenario": "password:too-short", "score": 0.5},
        {"type": "scenario", "id": "s", "prompt": "q", "project": "shop\n"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = run(settings, path, project="shop")
    assert [(problem.line, problem.reason) for problem in report.problems] == [(4, "unexpected_shape")]
    assert one(connection, "select count(*) from raw.outcomes join raw.scenarios using (project_id, scenario_id)") == (
        1,
    )


def test_amounts_that_no_table_takes_cost_no_document(settings, connection, tmp_path):
    lines = [
        {"type": "simulation", "id": "r1", "config": {"model": "m"}, "timeout_ms": 0},
        {"type": "scenario", "id": "s", "prompt": "q"},
        {"type": "outcome", "scenario": "s", "score": 0.5},
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = [
        {"scenario_id": name, "output": "x", "trace": {"steps": [{"tool": "t", "duration_ms": duration}]}}
        for name, duration in (("a", 5), ("b", -5))
    ]
    (tmp_path / "traces.json").write_text(json.dumps(results))
    report = run(settings, tmp_path, project="shop")
    assert [(Path(problem.path).name, problem.reason) for problem in report.problems] == [
        ("traces.json", "invalid_value")
    ]
    assert "tool call 1: duration_ms is -5.0" in report.problems[0].detail
    assert one(connection, "select count(*), max(timeout_ms) from raw.simulations") == (2, None)
    assert one(connection, "select count(*) from raw.outcomes") == (2,)


def test_a_name_that_a_model_made_up_at_length_is_shortened(settings, connection, tmp_path):
    noise = random.Random(1).randbytes(4000).hex()
    path = tmp_path / "own.jsonl"
    lines = [
        {"type": "simulation", "id": "r1", "config": {"model": "m"}},
        {"type": "scenario", "id": "s", "prompt": "q", "tags": [noise]},
        {"type": "outcome", "scenario": "s", "tools": [{"name": noise}, {"name": "search"}]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert not run(settings, path, project="shop").problems
    assert one(connection, "select count(*), max(octet_length(tool_name)) <= 800 from raw.tool_usage") == (2, True)


@pytest.mark.parametrize(
    "config",
    [
        "db:\n  password:\n    Quz7plover88\n",
        "db:\n  password: >-\n    Quz7plover88\n",
        "key: |\n  -----BEGIN PRIVATE KEY-----\n  Quz7plover88\n  -----END PRIVATE KEY-----\n",
        "passwords:\n- Quz7plover88\n- 9081726354\n",
        "credentials: {admin: Quz7plover88, pin: 9081726354}\n",
    ],
)
def test_no_secret_of_a_configuration_is_stored_however_its_yaml_is_written(settings, connection, tmp_path, config):
    path = tmp_path / "own.jsonl"
    lines = [
        {"type": "simulation", "id": "r1", "config": "model: m\n" + config},
        {"type": "scenario", "id": "s", "prompt": "q"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(settings, path, project="shop")
    text, parsed = one(connection, "select raw_yaml, parsed_config from raw.config_versions")
    assert parsed["model"] == "m"
    assert "model: m\n" in text
    assert "Quz7plover88" not in f"{text}{parsed}"
    assert "9081726354" not in f"{text}{parsed}"


def test_a_document_that_only_mentions_a_scenario_takes_nothing_from_it(settings, connection, tmp_path):
    truth = agent_evaluations.write(tmp_path / "storefront")
    run(settings, tmp_path)
    before = warehouse.rows_of(connection, "raw", "scenarios", without={"updated_at"})
    folder = next(path for path in truth.files if path.is_dir())
    results = json.loads((folder / "results.json").read_bytes())
    (folder / "results.json").write_text(json.dumps(results | {"tasks": [], "timestamp": "2026-10-01T00:00:00"}))
    assert run(settings, tmp_path).records["simulations"].inserted == 1
    connection.rollback()
    assert warehouse.rows_of(connection, "raw", "scenarios", without={"updated_at"}) == before
