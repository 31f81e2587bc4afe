"""Real Codex rollouts, against what another tool counts in them: reader and warehouse."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from damage import survives_ten_thousand_damaged_lines
from source_files import Records, chunks_of, only

from pipelines import ingest
from pipelines.settings import Settings
from pipelines.sources import DETECTION_BYTES, detect


@pytest.fixture(scope="session")
def files(corpus: Path) -> list[Path]:
    return sorted((corpus / "codex").rglob("*.jsonl"))


@pytest.fixture(scope="session")
def sessions(corpus: Path) -> dict[str, dict[str, Any]]:
    """What ccusage says of each file, by the file's name."""
    found = json.loads((corpus / "ground_truth" / "ccusage_codex_session.json").read_text())["sessions"]
    return {row["sessionFile"]: row for row in found}


def test_every_file_is_detected_and_all_its_lines_are_understood(files: list[Path]) -> None:
    assert files
    for path in files:
        data = path.read_bytes()
        assert detect(data[:DETECTION_BYTES]) == "codex", path
        [chunk] = chunks_of(data, "codex")
        assert (chunk.good_lines, chunk.blank_lines, chunk.bad) == (data.count(b"\n"), 0, []), path
        assert not chunk.open_unknown, path


def test_tokens_of_a_file_are_those_that_ccusage_counts(files: list[Path], sessions: dict[str, dict[str, Any]]) -> None:
    assert {path.stem for path in files} == sessions.keys()
    for path in files:
        requests = Records(chunks_of(path.read_bytes(), "codex")).requests.values()
        by_model: dict[str, list[int]] = {}
        for request in requests:
            sums = by_model.setdefault(request.model, [0, 0, 0])
            for number, count in enumerate((request.input_tokens, request.cache_read_tokens, request.output_tokens)):
                sums[number] += count
        assert by_model == {
            model: [row["inputTokens"], row["cacheReadTokens"], row["outputTokens"]]
            for model, row in sessions[path.stem]["models"].items()
        }


def test_calls_and_outputs_are_those_that_the_lines_hold(files: list[Path]) -> None:
    for path in files:
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        items = [line["payload"] for line in lines if line["type"] == "response_item"]
        outputs = {item["call_id"]: item["output"] for item in items if item["type"] == "function_call_output"}
        found = Records(chunks_of(path.read_bytes(), "codex"))
        assert found.tools.keys() == {item["call_id"] for item in items if item["type"] == "function_call"}
        for call_id, call in found.tools.items():
            assert (call.status == "ok") == ("Process exited with code 0\n" in outputs[call_id][:200]), call_id
        [typed] = [line["payload"]["message"] for line in lines if line["payload"].get("type") == "user_message"]
        execution = only(found)
        assert (execution.command, execution.status, execution.status_reason) == (typed, "completed", "answered")
        started = next(line["payload"] for line in lines if line["payload"].get("type") == "task_started")
        assert execution.id == started["turn_id"]
        reasoning = [line["payload"]["info"] for line in lines if line["payload"].get("info")][-1]
        expected = reasoning["total_token_usage"]["reasoning_output_tokens"]
        assert execution.output["reasoning_tokens"] == expected


def test_damaged_lines_are_all_accounted_for(files: list[Path]) -> None:
    lines = [line for path in files for line in path.read_bytes().splitlines() if len(line) < 20_000]
    survives_ten_thousand_damaged_lines(lines, "codex")


def test_days_and_sessions_in_the_warehouse_have_the_tokens_and_cost_of_ccusage(
    settings: Settings, connection: psycopg.Connection, corpus: Path, sessions: dict[str, dict[str, Any]]
) -> None:
    for _ in range(2):
        report = ingest.run([corpus / "codex"], dsn=settings.database_url, settings=settings, jobs=1)
        assert not report.has_problems
    stored = connection.execute(
        """
        select (timestamp at time zone 'UTC')::date, sum(input_tokens), sum(cache_creation_tokens),
            sum(cache_read_tokens), sum(output_tokens), sum(cost_usd)
        from raw.model_requests
        group by 1 order by 1
        """
    ).fetchall()
    days = json.loads((corpus / "ground_truth" / "ccusage_codex_daily.json").read_text())["daily"]
    assert [row[:5] for row in stored] == [
        (
            date.fromisoformat(day["date"]), day["inputTokens"], day["cacheCreationTokens"], day["cacheReadTokens"],
            day["outputTokens"],
        )
        for day in days
    ]  # fmt: skip
    for (*_, cost), day in zip(stored, days, strict=True):
        assert abs(cost - Decimal(str(day["costUSD"]))) < Decimal("0.000001")
    assert connection.execute(
        "select sum(total_tokens), min(cost_status), max(cost_status) from raw.command_executions"
    ).fetchall() == [(sum(day["totalTokens"] for day in days), "computed", "computed")]
    by_model = connection.execute(
        """
        select f.path, r.model, sum(r.input_tokens), sum(r.cache_read_tokens), sum(r.output_tokens), sum(r.cost_usd)
        from raw.model_requests as r
        join ops.ingest_files as f on f.file_key = r.source_file_key
        group by 1, 2
        """
    ).fetchall()
    assert {(Path(path).stem, model): tuple(tokens) for path, model, *tokens, _ in by_model} == {
        (name, model): (row["inputTokens"], row["cacheReadTokens"], row["outputTokens"])
        for name, session in sessions.items()
        for model, row in session["models"].items()
    }
    for name, session in sessions.items():
        cost = sum(row[-1] for row in by_model if Path(row[0]).stem == name)
        assert abs(cost - Decimal(str(session["costUSD"]))) < Decimal("0.000001")
