"""Real output of headless runs, against a count of it that shares no code with the readers.

The corpus is not part of this project; without it beside the checkout these tests are skipped.
"""

import json
from functools import cache
from typing import Any

import pytest
from source_files import Records, chunks_of, only

from pipelines.settings import REPOSITORY

CORPUS = REPOSITORY.parent / "shared" / "corpus"
REFERENCE = CORPUS / "ground_truth" / "stream_json_reference.json"

pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason=f"needs the corpus at ../shared/corpus ({CORPUS})")


@cache
def runs() -> list[tuple[dict[str, Any], Records]]:
    sessions = json.loads(REFERENCE.read_bytes())["sessions"]
    return [(row, Records(chunks_of((CORPUS / row["file"]).read_bytes(), "stream_json"))) for row in sessions]


def test_each_file_is_one_run_with_all_its_lines_understood():
    for row, found in runs():
        assert only(found).session_id == row["session_id"]
        assert only(found).session["version"] == row["claude_code_version"]
        [chunk] = found.chunks
        assert (chunk.good_lines, chunk.bad) == (row["lines"], [])
        assert not chunk.open_unknown


def test_responses_and_tools_are_counted_once():
    for row, found in runs():
        assert len(found.requests) == row["distinct_message_ids"]
        assert len(found.tools) == row["tool_use_blocks"]
        statuses = [call.status for call in found.tools.values()]
        assert sum(status in ("error", "rejected") for status in statuses) == row["tool_errors"]
        assert statuses.count("rejected") == (row["result"]["permission_denials"] if row["result"] else 0)


def test_tokens_of_responses_are_those_of_their_last_line():
    for row, found in runs():
        requests = found.requests.values()
        assert [
            sum(request.input_tokens for request in requests),
            sum(request.output_tokens for request in requests),
            sum(request.cache_creation_5m_tokens + request.cache_creation_1h_tokens for request in requests),
            sum(request.cache_read_tokens for request in requests),
        ] == row["sum_last_per_message_id"]


def test_usage_and_cost_are_those_of_the_result():
    for row, found in runs():
        execution = only(found)
        if row["result"] is None:
            assert (execution.status, execution.status_reason) == ("pending", "no_result")
            assert (execution.reported_usage, execution.duration_ms) == (None, None)
            continue
        assert (execution.status, execution.duration_ms) == ("completed", row["result"]["duration_ms"])
        assert {
            usage.model: [
                usage.input_tokens, usage.output_tokens, usage.cache_creation_tokens, usage.cache_read_tokens,
                pytest.approx(usage.cost_usd, abs=1e-9),
            ]
            for usage in execution.reported_usage
        } == row["result"]["modelUsage"]  # fmt: skip
        total = sum(usage.cost_usd for usage in execution.reported_usage)
        assert total == pytest.approx(row["result"]["total_cost_usd"], abs=1e-9)
