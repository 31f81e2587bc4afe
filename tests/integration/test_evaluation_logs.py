"""Logs of Inspect AI and results of promptfoo → raw tables: what the tools themselves count, once."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.ingest.report import IngestReport
from pipelines.samples import inspect_logs, promptfoo
from pipelines.settings import Settings

TABLES = ("configurations", "config_versions", "scenarios", "simulations", "simulation_scenarios", "outcomes",
          "tool_usage", "failure_patterns")  # fmt: skip


def run(settings: Settings, *paths: Path, **options: Any) -> IngestReport:
    return ingest.run(paths, dsn=settings.database_url, settings=settings, **{"jobs": 1, **options})


def rows(connection: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def counts(connection: psycopg.Connection) -> dict[str, int]:
    found = {table: int(rows(connection, f"select count(*) from raw.{table}")[0][0]) for table in TABLES}
    connection.rollback()
    return found


def contents(connection: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows but for the times at which they were written and the files that were first with them."""
    volatile = "- 'created_at' - 'updated_at' - 'source_file_key'"
    found = {
        table: rows(connection, f"select (to_jsonb(t) {volatile})::text from raw.{table} as t order by 1")
        for table in TABLES
    }
    connection.rollback()
    return found


@pytest.fixture
def inspect_ai() -> None:
    pytest.importorskip("inspect_ai", reason="inspect-ai is not installed: pip install 'tracemill[inspect]'")


@pytest.mark.usefixtures("inspect_ai")
def test_logs_of_inspect_equal_what_the_tool_reads(
    connection: psycopg.Connection, settings: Settings, corpus: Path
) -> None:
    report = run(settings, corpus / "inspect", project="evals")
    assert (report.files_by_state["new"], report.quarantined, report.problems) == (19, 0, [])
    logs = json.loads((corpus / "ground_truth/inspect_logs.json").read_text())["logs"]
    statuses = {"success": "completed", "cancelled": "cancelled"}
    found = rows(connection, "select source_key, status, overall_score::float from raw.simulations")
    assert {key: (status, score) for key, status, score in found} == {
        log["eval_id"]: (statuses[log["status"]], next(iter(log["metrics"].values()), None)) for log in logs
    }
    letters = {"C": 1.0, "I": 0.0}
    expected = {}
    for log in logs:
        for sample in log["samples"]:
            scores = [letters.get(value, value) for value in (sample["scores"] or {}).values()]
            tokens = sample["model_usage"].get(log["model"], {}).get("total_tokens")
            milliseconds = None if sample["total_time"] is None else round(sample["total_time"] * 1000, 3)
            key = (log["eval_id"], str(sample["id"]), sample["epoch"])
            expected[key] = ("success", scores[0] if scores else None, tokens, milliseconds)
    found = rows(
        connection,
        "select s.source_key, c.source_id, o.epoch, o.status, o.reliability_score::float, o.tokens_used, "
        "round(o.execution_time_ms::numeric, 3)::float from raw.outcomes as o "
        "join raw.simulations as s using (project_id, simulation_id) "
        "join raw.scenarios as c using (project_id, scenario_id)",
    )
    stored = {row[:3]: row[3:] for row in found}
    assert stored == expected
    samples = list(csv.DictReader((corpus / "ground_truth/inspect_samples_df.csv").open(encoding="utf-8")))
    assert len(samples) > 30
    for row in samples:
        status, score, tokens, milliseconds = stored[row["eval_id"], row["id"], int(row["epoch"])]
        assert status == ("error" if row["error"] else "success")
        (said,) = [value for name, value in row.items() if name.startswith("score_") and value] or [None]
        assert score == (letters[said] if said in letters else said and float(said))
        # The data frame is made of summaries, which older logs keep without usage and time.
        if row["model_usage"] != "{}":
            assert tokens == int(row["total_tokens"])
        if row["total_time"]:
            assert milliseconds == round(float(row["total_time"]) * 1000, 3)
    assert counts(connection)["tool_usage"] == 20
    (priced,) = rows(connection, "select count(*) from raw.outcomes where cost_status = 'computed' and cost_usd > 0")
    assert priced[0] == sum("gpt-4o" in log["model"] and len(log["samples"]) for log in logs)


def test_results_of_promptfoo_equal_its_own_counts(
    connection: psycopg.Connection, settings: Settings, corpus: Path
) -> None:
    folder = corpus / "promptfoo/generated_0.121.20"
    own = json.loads((folder / "results.json").read_text())["results"]["stats"]
    report = run(settings, folder / "results.json", folder / "results.jsonl", project="evals")
    assert (report.quarantined, report.problems) == (0, [])
    ((successes, failures, errors, tokens),) = rows(
        connection,
        "select count(*) filter (where is_passed), count(*) filter (where status = 'success' and not is_passed), "
        "count(*) filter (where status = 'error'), sum(tokens_used) from raw.outcomes",
    )
    assert (successes, failures, errors) == (own["successes"], own["failures"], own["errors"])
    assert tokens == own["tokenUsage"]["total"]
    found = counts(connection)
    assert (found["simulations"], found["configurations"], found["config_versions"]) == (6, 6, 6)
    assert (found["scenarios"], found["outcomes"], found["failure_patterns"]) == (8, 48, 4)
    assert rows(connection, "select distinct failure_category from raw.failure_patterns") == [("model_error",)]


@pytest.mark.usefixtures("inspect_ai")
def test_what_the_samples_hold_is_stored_once_and_reading_again_changes_nothing(
    connection: psycopg.Connection, settings: Settings, tmp_path: Path
) -> None:
    projects = ["desk", "shop"]
    logs = inspect_logs.write(tmp_path / "inspect", projects=projects)
    results = promptfoo.write(tmp_path / "promptfoo", projects=projects)
    report = run(settings, tmp_path / "inspect", tmp_path / "promptfoo")
    assert (report.quarantined, report.problems) == (0, [])
    statuses = Counter(dict(rows(connection, "select status, count(*) from raw.simulations group by 1")))
    assert statuses == logs.simulations + Counter(completed=results.simulations)
    found = dict(rows(connection, "select status, count(*) from raw.outcomes group by 1"))
    assert found["error"] == logs.outcomes["error"] + results.verdicts["errors"]
    assert sum(found.values()) == logs.outcomes.total() + results.verdicts.total()
    ((passed, tokens),) = rows(
        connection, "select count(*) filter (where is_passed), sum(tokens_used) from raw.outcomes"
    )
    assert passed == logs.passed + results.verdicts["successes"]
    assert tokens == logs.tokens + results.tokens
    tools = Counter(dict(rows(connection, "select status, count(*) from raw.tool_usage group by 1")))
    assert tools == logs.tools
    assert {row[0] for row in rows(connection, "select project_id from raw.simulations")} == set(logs.projects)
    stored = contents(connection)
    assert set(run(settings, tmp_path / "inspect", tmp_path / "promptfoo").files_by_state) == {"unchanged"}
    copies = [shutil.copytree(tmp_path / name, tmp_path / "copies" / name) for name in ("promptfoo", "inspect")]
    report = run(settings, *copies)
    assert (set(report.files_by_state), report.problems) == ({"new"}, [])
    assert contents(connection) == stored


@pytest.mark.usefixtures("inspect_ai")
def test_settings_that_change_make_a_new_version_with_its_difference(
    connection: psycopg.Connection, settings: Settings, tmp_path: Path
) -> None:
    inspect_logs.write(tmp_path, projects=["desk"])
    run(settings, tmp_path)
    found = rows(
        connection,
        "select v.version_number, v.parsed_config #>> '{generate_config,temperature}' "
        "from raw.config_versions as v join raw.configurations as c using (project_id, config_id) "
        f"where c.name = 'ticket_routing ({inspect_logs.MODEL})' order by 1",
    )
    assert sorted(temperature for _, temperature in found) == ["0.2", "0.2", "1.0"]
    assert rows(connection, "select count(*) from raw.config_diffs")[0][0] == 2


@pytest.mark.usefixtures("inspect_ai")
def test_bad_logs_are_named_and_the_good_ones_load(
    connection: psycopg.Connection, settings: Settings, tmp_path: Path
) -> None:
    inspect_logs.write(tmp_path, projects=["desk"])
    whole = len(list((tmp_path / "desk").iterdir()))
    good = min((tmp_path / "desk").glob("*.json"))
    for path in (good, min((tmp_path / "desk").glob("*.eval"))):
        (tmp_path / "desk" / f"cut{path.suffix}").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    newer = json.loads(good.read_text()) | {"version": 9}
    (tmp_path / "desk/newer.json").write_text(json.dumps(newer))
    odd = json.loads(good.read_text())
    odd["eval"]["eval_id"] = "of the odd one"
    odd["samples"][0]["scores"] = "none"
    (tmp_path / "desk/odd.json").write_text(json.dumps(odd))
    report = run(settings, tmp_path)
    assert report.files_by_state["failed"] == 3
    assert report.quarantined == 1
    details = " ".join(problem.detail for problem in report.problems)
    assert details.count("copy the log again") == 2
    assert "version 9" in details
    assert "Sample 1 cannot be read" in details
    assert counts(connection)["simulations"] == whole + 1
