"""The demo on a server of its own: its numbers are those that the generator wrote, and a second one changes none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.demo import describe, read_summary
from pipelines.database import connect, embedded
from pipelines.ingest.prices import price_rows
from pipelines.samples import UNKNOWN_MODEL, SampleTruth, generate

pytestmark = pytest.mark.timeout(600)


def _starts(timestamp: str | None) -> str:
    """The day of a timestamp in a form that compares as text; none at all comes last."""
    return "9999-12-31" if timestamp is None else timestamp[:10]


def demo(home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "demo", "--json"],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TRACEMILL_HOME": str(home)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
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
def truth(tmp_path_factory: pytest.TempPathFactory) -> SampleTruth:
    return generate(tmp_path_factory.mktemp("truth"))


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


def test_summary_reads_well(first: dict[str, Any], home: Path, truth: SampleTruth) -> None:
    text = describe(read_summary(embedded.status(home).dsn(), truth), seconds=12.3)
    tokens = f"{truth.total_usage().total_tokens:,}"
    assert tokens in text
    assert "≥: a lower bound." in text
    assert "tracemill ui" in text
    assert max(len(line) for line in text.splitlines()) <= 130
    assert text.endswith("Done in 12 s.\n")


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
                    "ops.quarantined_records",
                )
            ]

    before = raw_rows()
    assert demo(home) == first
    assert raw_rows() == before
