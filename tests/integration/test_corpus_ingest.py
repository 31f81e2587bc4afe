"""The warehouse against independent ground truth: real logs, and what other tools say is in them."""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.settings import REPOSITORY, Settings
from tests import warehouse

STATUS = {"success": "completed", "error": "failed", "interrupted": "cancelled", "incomplete": "pending"}

REFERENCE_ERRORS = {
    ("claudeless--shell-mode/f5e1f234-e88e-41da-80fa-714c84819d52.jsonl", 3): (
        "status",
        "the command wrote to stderr, which is the only sign of failure that bash mode leaves",
    ),
}
"""Rows of the reference that are wrong, by what differs and why."""


@pytest.fixture
def ingested(settings: Settings, connection: psycopg.Connection, corpus: Path) -> psycopg.Connection:
    ingest.run([corpus / "claude_code"], dsn=settings.database_url, settings=settings, jobs=1)
    return connection


@pytest.fixture
def reference(corpus: Path) -> dict[str, Any]:
    return json.loads((corpus / "ground_truth" / "commands_reference.json").read_text())


def executions_by_place(connection: psycopg.Connection) -> dict[tuple[str, int], dict[str, Any]]:
    """Executions by file (below ``projects``) and opening line."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        cursor.execute(
            "select f.path, e.* from raw.command_executions as e "
            "join ops.ingest_files as f on f.file_key = e.source_file_key where e.kind <> 'orphan'"
        )
        return {(row["path"].partition("/projects/")[2], row["source_line"]): row for row in cursor}


def is_hand_written(file: str) -> bool:
    """Fixtures that no client wrote: ids are shared between files, one line is not what its type promises."""
    return file.startswith("claude-code-log--")


def test_executions_match_the_reference_row_by_row(ingested: psycopg.Connection, reference: dict[str, Any]) -> None:
    stored = executions_by_place(ingested)
    expected = {
        (file, row["line"]): row
        for file, rows in reference["sessions"].items()
        for row in rows
        if not is_hand_written(file)
    }
    assert {place for place in stored if not is_hand_written(place[0])} == expected.keys()
    for place, row in expected.items():
        found = stored[place]
        differing, _ = REFERENCE_ERRORS.get(place, (None, None))
        assert (found["status"] == STATUS[row["status"]]) == (differing != "status"), place
        assert (found["tool_calls"], found["tool_errors"]) == (row["tool_calls"], row["tool_errors"]), place
        assert found["total_tokens"] == row["total_tokens"], place
        assert found["output_tokens"] == row["output_tokens"], place
        assert found["cached_tokens"] == row["cache_read_tokens"], place
        assert found["cache_creation_tokens"] == row["cache_creation_tokens"], place
        if row["kind"] == "slash":
            assert found["command_base"] == row["name"], place
        if row["models"] and row["models"] != ["<synthetic>"] and row["total_tokens"]:
            assert abs(found["cost_usd"] - Decimal(str(row["cost_usd"]))) < Decimal("0.000001"), place


def test_tokens_and_cost_of_each_session_match_the_reference(
    ingested: psycopg.Connection, reference: dict[str, Any]
) -> None:
    stored: dict[str, list[Any]] = {}
    for (file, _), row in executions_by_place(ingested).items():
        sums = stored.setdefault(file, [0, Decimal(0)])
        sums[0] += row["total_tokens"]
        sums[1] += row["cost_usd"] or 0
    prices = reference["prices_usd_per_mtok[in,out,cw5m,cw1h,cr]"]
    compared = 0
    for file, rows in reference["sessions"].items():
        if is_hand_written(file) or not rows:
            continue
        assert stored[file][0] == sum(row["total_tokens"] for row in rows), file
        if all(model in prices for row in rows for model in row["models"]):
            compared += 1
            assert abs(stored[file][1] - Decimal(str(sum(row["cost_usd"] for row in rows)))) < Decimal("0.000001"), file
    assert compared >= 14


def test_a_cost_that_the_client_wrote_down_is_taken(ingested: psycopg.Connection) -> None:
    costs = ingested.execute(
        "select session_id, sum(cost_usd), min(cost_status) from raw.command_executions "
        "where project_id in ('project-alpha', 'project-beta') or session_id in ('session-alpha', 'session-beta') "
        "group by session_id order by session_id"
    ).fetchall()
    assert [(float(cost), status) for _, cost, status in costs] == [(1.02, "reported"), (0.07, "reported")]


def test_headless_runs_have_the_tokens_and_cost_that_the_client_reported(
    settings: Settings, connection: psycopg.Connection, corpus: Path
) -> None:
    ingest.run([corpus / "claude_stream_json"], dsn=settings.database_url, settings=settings, jobs=1)
    reference = json.loads((corpus / "ground_truth" / "stream_json_reference.json").read_text())
    assert reference["sessions"]
    for run in reference["sessions"]:
        row = connection.execute(
            "select e.input_tokens - e.cache_creation_tokens - e.cached_tokens, e.output_tokens, "
            "e.cache_creation_tokens, e.cached_tokens, e.cost_usd, e.cost_status, e.status, e.is_output_reliable "
            "from raw.command_executions as e join ops.ingest_files as f on f.file_key = e.source_file_key "
            "where f.path like %s",
            [f"%{run['file']}"],
        ).fetchall()
        assert len(row) == 1, run["file"]
        *tokens, cost, cost_status, status, is_output_reliable = row[0]
        result = run["result"]
        if result is None:
            assert status in ("pending", "failed"), run["file"]
            assert (cost_status, is_output_reliable) == ("partial", False), run["file"]
        else:
            models = result["modelUsage"].values()
            assert tokens == [sum(model[kind] for model in models) for kind in range(4)], run["file"]
            assert abs(cost - Decimal(str(result["total_cost_usd"]))) < Decimal("0.000001"), run["file"]
            assert cost_status == "reported", run["file"]
            assert status == ("failed" if result["is_error"] else "completed"), run["file"]
    warehouse.assert_totals_add_up(connection)


@pytest.fixture(scope="module")
def real_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rounds of a real client against a loopback stub."""
    driver = REPOSITORY.parent / "shared" / "realclient" / "run_sessions.py"
    client = os.environ.get("TRACEMILL_TEST_CLAUDE") or shutil.which("claude")
    if not driver.is_file() or not client:
        pytest.skip("needs ../shared/realclient and a Claude Code client, on the PATH or in TRACEMILL_TEST_CLAUDE")
    out = tmp_path_factory.mktemp("real")
    subprocess.run(
        [sys.executable, str(driver), "--claude", client, "--out", str(out), "--rounds", "3"],
        check=True,
        timeout=280,
        stdout=subprocess.DEVNULL,
    )
    return out


def delivered(real_logs: Path) -> list[dict[str, Any]]:
    """Responses that reached a client: the stub also writes down what it sent to a client killed meanwhile."""
    ledger = [json.loads(line) for line in (real_logs / "ledger.jsonl").read_text().splitlines()]
    logs = b"".join(path.read_bytes() for part in ("claude", "stream") for path in (real_logs / part).rglob("*.jsonl"))
    reached = [response for response in ledger if response["id"].encode() in logs]
    killed = [call for call in json.loads((real_logs / "calls.json").read_text()) if call["name"] == "killed"]
    assert len(ledger) - len(reached) <= len(killed)
    return reached


@pytest.mark.parametrize(
    "order",
    [("claude",), ("stream",), ("claude", "stream"), ("stream", "claude"), ("claude", "stream", "claude", "stream")],
    ids=" then ".join,
)
def test_tokens_equal_what_a_real_client_was_served(
    order: tuple[str, ...], settings: Settings, connection: psycopg.Connection, real_logs: Path, tmp_path: Path
) -> None:
    for number, part in enumerate(order):
        # Each part from a folder of its own: the ledger of files must not be what keeps copies out.
        folder = tmp_path / f"{number}" / part
        shutil.copytree(real_logs / part, folder)
        ingest.run([folder], dsn=settings.database_url, settings=settings, project="real", jobs=1)
    served = [response["usage"] for response in delivered(real_logs)]
    expected = tuple(
        sum(usage.get(kind, 0) for usage in served)
        for kind in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    )
    assert (
        connection.execute(
            "select sum(input_tokens), sum(cache_creation_tokens), sum(cache_read_tokens), sum(output_tokens) "
            "from raw.model_requests"
        ).fetchone()
        == expected
    )
    assert (
        connection.execute(
            "select sum(input_tokens - cache_creation_tokens - cached_tokens), sum(cache_creation_tokens), "
            "sum(cached_tokens), sum(output_tokens) from raw.command_executions"
        ).fetchone()
        == expected
    )
    calls = json.loads((real_logs / "calls.json").read_text())
    assert sum(warehouse.executions_by_status(connection).values()) == len(calls)
    warehouse.assert_totals_add_up(connection)
