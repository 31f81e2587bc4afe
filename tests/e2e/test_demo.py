"""The demo on a server of its own: its numbers are those that the generator wrote, and a second one changes none."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.demo import describe, read_summary
from pipelines.database import connect, embedded
from pipelines.ingest.prices import price_rows
from pipelines.samples import UNKNOWN_MODEL, SampleTruth
from pipelines.samples import demo as samples
from pipelines.samples.demo import DemoTruth

pytestmark = pytest.mark.timeout(600)

MAY_BE_EMPTY = {
    "monitoring.v_alerts": "the samples end on a fixed day, and four weeks later nobody misses them any more",
}


def _starts(timestamp: str | None) -> str:
    """The day of a timestamp in a form that compares as text; none at all comes last."""
    return "9999-12-31" if timestamp is None else timestamp[:10]


def tracemill(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TRACEMILL_HOME": str(home)},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def demo(home: Path) -> dict[str, Any]:
    done = tracemill(home, "demo", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout, parse_float=Decimal))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of the demo. Short, because a socket lies in it; open to the server's user, as pytest's folders are not."""
    folder = Path(os.environ["TRACEMILL_TEST_RUN"]) / f"demo-{os.getpid()}"
    yield folder
    embedded.stop(folder)


@pytest.fixture(scope="module")
def first(home: Path) -> dict[str, Any]:
    return demo(home)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> DemoTruth:
    return samples.write(tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module")
def truth(written: DemoTruth) -> SampleTruth:
    """What the logs of coding agents hold."""
    return written.logs


@pytest.fixture(scope="module")
def text(first: dict[str, Any], home: Path, written: DemoTruth) -> str:
    """What a person reads."""
    return describe(read_summary(embedded.status(home).dsn(), replace(written, left_out=("mlflow",))), seconds=12.3)


def test_summary_equals_what_was_generated(first: dict[str, Any], truth: SampleTruth) -> None:
    projects = {project["project_id"]: project for project in first["projects"]}
    assert set(projects) == set(truth.projects)
    for name, project in projects.items():
        usage = truth.total_usage(project=name)
        assert project["executions"] == truth.executions_by_status(name).total()
        assert project["requests"] == usage.requests
        assert project["tokens"] == usage.total_tokens
        assert project["is_lower_bound"] is True
        assert project["unpriced_requests"] == truth.total_usage(project=name, model=UNKNOWN_MODEL).requests
        assert float(project["cache_hit_rate"]) == pytest.approx(100 * usage.cache_read_tokens / usage.prompt_tokens)


def test_cost_equals_tokens_times_list_prices(first: dict[str, Any], truth: SampleTruth) -> None:
    prices = price_rows({key.model for key in truth.usage})
    for project in first["projects"]:
        expected = Decimal(0)
        for key, usage in truth.usage.items():
            if key.project != project["project_id"] or key.model == UNKNOWN_MODEL:
                continue
            (price,) = [
                row
                for row in prices
                if row.model == key.model
                and row.min_prompt_tokens == 0
                and _starts(row.valid_from) <= str(key.activity_date) < _starts(row.valid_to)
            ]
            expected += (
                usage.input_tokens * price.input_usd_per_mtok
                + usage.output_tokens * price.output_usd_per_mtok
                + usage.cache_read_tokens * price.cache_read_usd_per_mtok
                + usage.cache_creation_5m_tokens * price.cache_write_5m_usd_per_mtok
                + usage.cache_creation_1h_tokens * price.cache_write_1h_usd_per_mtok
            ) / 1_000_000 + usage.web_search_requests * price.web_search_usd_per_request
        assert abs(Decimal(project["cost_usd"]) - expected) < Decimal("0.000001")


def test_statuses_equal_the_truth_and_the_reaper_closed_what_was_pending(
    first: dict[str, Any], truth: SampleTruth
) -> None:
    expected = truth.executions_by_status()
    expected["timeout"] = expected.pop("pending")
    assert {status: number for status, number in first["statuses"].items() if number} == dict(expected)


def test_secrets_are_gone_and_broken_lines_are_kept_apart(first: dict[str, Any], truth: SampleTruth) -> None:
    assert first["secrets_left"] == 0
    assert first["quarantined"] == truth.broken_lines
    assert all("[REDACTED:" in example for example in first["redacted_examples"])
    assert len(first["redacted_examples"]) == 2


def test_commands_that_always_start_cold_are_advised_upon(first: dict[str, Any]) -> None:
    cold = [advice for advice in first["advice"] if advice["rule_id"] == "low_cache_hit_rate"]
    assert cold
    assert all("/document" in advice["pattern_signature"] for advice in cold)


def test_optimization_equals_what_was_generated(first: dict[str, Any], written: DemoTruth) -> None:
    found = {(totals["project_id"], totals["task"]): totals for totals in first["optimizations"]}
    assert set(found) == {(run.project, run.task) for run in written.runs}
    for key, totals in found.items():
        runs = [run for run in written.runs if (run.project, run.task) == key]
        statuses = Counter(run.status for run in runs)
        assert totals["runs"] == len(runs)
        assert totals["completed"] == statuses["completed"]
        assert totals["stopped"] == statuses["failed"] + statuses["cancelled"]
        assert totals["running"] == statuses["running"] == 1
        assert totals["tokens"] == sum(run.tokens for run in runs)
        assert totals["runs_without_tokens"] == sum(run.tokens == 0 for run in runs)
        assert float(totals["cost_usd"]) == pytest.approx(sum(run.cost_usd for run in runs))
        assert float(totals["best_score"]) == pytest.approx(max(run.best for run in runs if run.best is not None))
    optimizers = [result["optimizer"] for result in first["optimizers"]]
    assert len(set(optimizers)) == len(optimizers) >= 5


def test_evaluations_equal_what_was_generated(first: dict[str, Any], written: DemoTruth) -> None:
    found = {totals["project_id"]: totals for totals in first["evaluations"]}
    assert set(found) == set(written.evaluations)
    for project, counts in written.evaluations.items():
        shown = ("simulations", "running", "outcomes", "judged", "passed")
        assert [found[project][name] for name in shown] == [getattr(counts, name) for name in shown]
    assert found["storefront"]["days"] >= 20
    assert found["storefront"]["running"] >= 1
    failures = {(failure["category"], failure["template"]): failure["times"] for failure in first["failures"]}
    nightly = {key: times for key, times in failures.items() if key in written.failures}
    assert len({category for category, _ in nightly}) >= 4
    assert nightly == {key: written.failures[key] for key in nightly}


def test_versions_are_compared_as_the_file_of_the_evaluation_tells(first: dict[str, Any], written: DemoTruth) -> None:
    tried: dict[str, list[bool]] = {}
    config = ""
    for line in map(json.loads, (written.logs.folder / "agents/storefront/support-nightly.jsonl").open()):
        if line["type"] == "simulation":
            config = json.dumps(line["config"], sort_keys=True)
        elif line["type"] == "outcome":
            tried.setdefault(config, []).append(line["passed"])
    assert [(version["judged"], version["passed"]) for version in first["versions"]] == [
        (len(verdicts), sum(verdicts)) for verdicts in tried.values()
    ]
    assert {version["name"] for version in first["versions"]} == {"support agent"}


def test_every_mart_and_view_has_rows_and_says_what_its_columns_are(first: dict[str, Any], home: Path) -> None:
    with connect(embedded.status(home).dsn()) as connection:
        relations = [
            relation
            for (relation,) in connection.execute(
                "select format('%I.%I', relnamespace::regnamespace, relname) from pg_class "
                "where relnamespace::regnamespace::text in ('marts', 'monitoring') and relkind in ('r', 'v', 'm')"
            )
        ]
        assert len(relations) >= 38
        empty = {
            relation
            for relation in relations
            if not connection.execute(f"select exists (select from {relation})").fetchone()[0]
        }
        assert empty <= MAY_BE_EMPTY.keys()
        undescribed = connection.execute(
            "select attrelid::regclass::text, attname from pg_attribute join pg_class on pg_class.oid = attrelid "
            "where relnamespace::regnamespace::text in ('staging', 'intermediate', 'marts', 'monitoring') "
            "and relkind in ('r', 'v', 'm') and attnum > 0 and not attisdropped "
            "and coalesce(col_description(attrelid, attnum), '') = ''"
        ).fetchall()
        assert undescribed == []


def test_error_rates_are_those_of_the_last_week_of_a_project_at_rest(first: dict[str, Any], home: Path) -> None:
    counted: Counter[tuple[str, date, date, str]] = Counter()
    with connect(embedded.status(home).dsn()) as connection:
        outcomes = connection.execute(
            "select project_id, (execution_time at time zone 'UTC')::date, scenario_id from raw.outcomes"
        ).fetchall()
        shown = connection.execute(
            "select project_id, window_end_date, activity_date, scenario_id, total_runs from v_error_rates"
        ).fetchall()
    for project, day, scenario in outcomes:
        last = max(other for name, other, _ in outcomes if name == project)
        if (last - day).days < 7:
            counted[project, last, day, scenario] += 1
    assert {project for project, *_ in counted} == {project["project_id"] for project in first["evaluations"]}
    assert {tuple(key): runs for *key, runs in shown} == counted


def test_the_night_of_the_demo_gives_no_warning(first: dict[str, Any], home: Path) -> None:
    (output,) = (path for path in (home / "dagster" / "storage").rglob("*.out") if path.stat().st_size)
    assert "Done. PASS=" in (told := output.read_text())
    assert [line for line in told.splitlines() if re.search("warn|deprecat", line.replace("WARN=0", ""), re.I)] == []
    events = output.with_suffix(".err").read_text()
    assert "STEP_SUCCESS" in events
    assert [line for line in events.splitlines() if " - WARNING - " in line or "Warning:" in line] == []


def test_summary_reads_well(text: str, truth: SampleTruth) -> None:
    tokens = f"{truth.total_usage().total_tokens:,}"
    assert tokens in text
    assert "≥: a lower bound." in text
    assert "pip install 'tracemill[mlflow]'" in text
    assert max(len(line) for line in text.splitlines()) <= 130
    assert text.endswith("Done in 12 s.\n")


def test_what_the_demo_tells_people_to_type_next_works(text: str, home: Path) -> None:
    lines = text.partition("What next")[2].replace("\\\n", " ").splitlines()
    commands = {words[1]: words[1:] for line in lines if (words := shlex.split(line)) and words[0] == "tracemill"}
    assert commands.keys() >= {"diff", "similar", "query", "doctor", "ui", "ingest"}
    answers = {name: tracemill(home, *commands[name]) for name in ("diff", "similar", "query")}
    assert {name: done.stderr for name, done in answers.items() if done.returncode} == {}
    assert "6 shared scenarios" in answers["diff"].stdout
    nearest = answers["similar"].stdout.splitlines()[2:4]
    assert any("API error: 529 overloaded_error" in line for line in nearest)
    assert "claude-opus-5-5" in answers["query"].stdout


@pytest.mark.slow
def test_second_demo_changes_no_number(first: dict[str, Any], home: Path) -> None:
    def raw_rows() -> list[tuple[Any, ...]]:
        with connect(embedded.status(home).dsn()) as connection:
            return [
                connection.execute(
                    f"select count(*), md5(string_agg(t::text, '' order by t::text)) from {table} as t"
                ).fetchone()
                for table in (
                    "raw.command_executions",
                    "raw.model_requests",
                    "raw.tool_calls",
                    "raw.optimization_runs",
                    "raw.optimization_iterations",
                    "raw.optimization_samples",
                    "raw.config_versions",
                    "raw.scenarios",
                    "raw.simulations",
                    "raw.outcomes",
                    "raw.tool_usage",
                    "raw.failure_patterns",
                    "raw.embeddings",
                    "raw.embedding_subjects",
                    "ops.quarantined_records",
                )
            ]

    before = raw_rows()
    assert demo(home) == first
    assert raw_rows() == before
