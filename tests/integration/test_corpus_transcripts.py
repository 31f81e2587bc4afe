"""Real transcripts of other people, against a count of them that shares no code with the readers.

The corpus is not part of this project; without it beside the checkout these tests are skipped.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from damage import survives_ten_thousand_damaged_lines
from source_files import Records, chunks_of

from pipelines.settings import REPOSITORY
from pipelines.sources import DETECTION_BYTES, detect
from pipelines.sources.records import ModelRequest, ToolCall

CORPUS = REPOSITORY.parent / "shared" / "corpus"
PROJECTS = CORPUS / "claude_code" / "projects"
REFERENCE = CORPUS / "ground_truth" / "commands_reference.json"

pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason=f"needs the corpus at ../shared/corpus ({CORPUS})")

STATUS = {"success": "completed", "error": "failed", "interrupted": "cancelled", "incomplete": "pending"}

# Rows of the reference that are not executions, and one whose end moves with them.
NOT_TYPED = {
    ("claude-code-log--test_data/edge_cases.jsonl", 10): "a tool's result whose content is misspelt, nothing typed",
    ("claude-code-log--test_data/edge_cases.jsonl", 18): "a tool's result that repeats line 10's uuid, nothing typed",
}
STATUS_DIFFERS = {
    ("claude-code-log--test_data/edge_cases.jsonl", 12): (
        "pending", "its tool is unanswered at the end of the file, which the reference sees in its own row 18",
    ),
    ("claudeless--shell-mode/f5e1f234-e88e-41da-80fa-714c84819d52.jsonl", 3): (
        "failed", "bash mode with error output has failed",
    ),
}  # fmt: skip
# Work before any command: the reference has no rows for it, the peer tool counts its tokens.
ORPHANS = {
    "ccusage--project-alpha/session-alpha/chat.jsonl": ("ccusage--project-alpha", 995, 1.02),
    "ccusage--project-beta/session-beta/chat.jsonl": ("ccusage--project-beta", 245, 0.07),
}
# The reference lets a command last until the client writes a caveat or summary of its own, often for the next one.
ENDS_AT_WORK = {
    ("claude-code-log--test_data/edge_cases.jsonl", 3),
    ("claudeless--clear-command/5c91b750-86c7-44d8-bb93-e5046ff2c302.jsonl", 3),
    ("claudeless--compact-command/8aa54c1d-5030-4491-be42-e0c416424b8a.jsonl", 6),
    ("claudeless--compact-command/8aa54c1d-5030-4491-be42-e0c416424b8a.jsonl", 14),
    ("claudeless--context-usage/638edc21-61f5-4a3e-8f7a-18bfbe584ce2.jsonl", 3),
    ("claudeless--hook-session-start/5158bdb4-602c-4c9d-a0c3-b56224e08115.jsonl", 3),
    ("claudeless--hook-stop/d266fdf5-b6a3-46aa-8627-920959a0109a.jsonl", 8),
    ("claudeless--model-haiku/d108d7b3-ab6d-4ca8-85a9-dfb59ed77168.jsonl", 2),
    ("claudeless--plan-command-enable/a3b7d1ef-7b3a-4695-9108-ad96a8b2a514.jsonl", 3),
    ("claudeless--todos-empty/585999bc-21c8-4d01-9f59-17eb6d249ad2.jsonl", 3),
    ("claudeless--write-permission-dialog/91348717-fea3-46ed-a511-2370f1aaa5b7.jsonl", 2),
    ("spotter/tool_heavy.jsonl", 4),
}


@cache
def reference() -> dict[str, list[dict[str, Any]]]:
    return json.loads(REFERENCE.read_bytes())["sessions"]


@cache
def records(path: Path) -> Records:
    return Records(chunks_of(path.read_bytes()))


@cache
def owned(session: str) -> tuple[dict[str, list[ModelRequest]], dict[str, list[ToolCall]]]:
    """Requests and tool calls of a session's executions, those of its subagents' files included."""
    main = records(PROJECTS / session)
    requests: dict[str, list[ModelRequest]] = {id: [] for id in main.executions}
    tools: dict[str, list[ToolCall]] = {id: [] for id in main.executions}
    spawned = {call.spawned_agent_id: call.execution_id for call in main.tools.values() if call.spawned_agent_id}
    for request in main.requests.values():
        requests[request.execution_id].append(request)
    for call in main.tools.values():
        tools[call.execution_id].append(call)
    for path in sorted((PROJECTS / session).with_suffix("").rglob("agent-*.jsonl")):
        agent = records(path)
        assert not agent.executions
        for request in agent.requests.values():
            requests[_owner(request, main, spawned)].append(request)
        for call in agent.tools.values():
            tools[_owner(call, main, spawned)].append(call)
    return requests, tools


def _owner(record: ModelRequest | ToolCall, main: Records, spawned: dict[str | None, str]) -> str:
    if record.prompt_id in main.executions:
        return record.prompt_id
    if record.agent_id in spawned:
        return spawned[record.agent_id]
    return [execution.id for execution in main.listed if execution.timestamp <= record.timestamp][-1]


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    for session, expected in reference().items():
        for row in expected:
            if (session, row["line"]) not in NOT_TYPED:
                yield session, row


def tokens(requests: list[ModelRequest]) -> dict[str, int]:
    return {
        "input_tokens": sum(request.input_tokens for request in requests),
        "output_tokens": sum(request.output_tokens for request in requests),
        "cache_creation_tokens": sum(
            request.cache_creation_5m_tokens + request.cache_creation_1h_tokens for request in requests
        ),
        "cache_read_tokens": sum(request.cache_read_tokens for request in requests),
    }


def test_the_same_commands_are_found_on_the_same_lines():
    expected = {(session, row["line"]) for session, row in rows()}
    found = {
        (session, execution.line)
        for session in reference()
        for execution in records(PROJECTS / session).listed
        if session not in ORPHANS
    }
    assert found == expected
    assert len(expected) == 55


def test_commands_have_the_same_kind_and_text():
    for session, row in rows():
        execution = next(e for e in records(PROJECTS / session).listed if e.line == row["line"])
        kinds = {"local_command": {"local"}, "slash": {"slash", "local"}}.get(row["kind"], {row["kind"]})
        assert execution.kind in kinds, (session, row["line"])
        name = row["name"] and (row["name"] if row["name"][0] in "/!" else "/" + row["name"])
        assert execution.command_name == name
        typed = execution.command.removeprefix(name or "").strip() if row["kind"] != "bash" else execution.command
        assert typed[:200].strip() == row["args"].strip()
        if execution.kind == "local":
            assert row["api_messages"] == 0


def test_commands_end_with_the_same_status():
    for session, row in rows():
        execution = next(e for e in records(PROJECTS / session).listed if e.line == row["line"])
        expected, _ = STATUS_DIFFERS.get((session, row["line"]), (STATUS[row["status"]], ""))
        assert execution.status == expected, (session, row["line"], execution.status_reason)


def test_commands_own_the_same_tokens_requests_and_tools():
    for session, row in rows():
        execution = next(e for e in records(PROJECTS / session).listed if e.line == row["line"])
        requests, tools = (of_session[execution.id] for of_session in owned(session))
        found = tokens(requests) | {
            "total_tokens": sum(tokens(requests).values()),
            "api_messages": len(requests),
            "tool_calls": len(tools),
            "tool_errors": sum(call.status in ("error", "rejected") for call in tools),
            "unanswered_tools": sum(call.status == "unanswered" for call in tools),
        }
        assert found == {name: row[name] for name in found}, (session, row["line"])


def test_commands_last_as_long():
    for session, row in rows():
        execution = next(e for e in records(PROJECTS / session).listed if e.line == row["line"])
        wall_ms = round((execution.ended_at - execution.timestamp).total_seconds() * 1000)
        if (session, row["line"]) not in ENDS_AT_WORK:
            assert wall_ms == row["wall_ms"], (session, row["line"])
            continue
        lines = [json.loads(line) for line in (PROJECTS / session).read_bytes().splitlines()]
        at_end = [line for line in lines if isinstance(line, dict) and line.get("timestamp") == row["end"]]
        assert any(
            line.get("isMeta") or line.get("isCompactSummary") or "Caveat: " in json.dumps(line) for line in at_end
        ), (session, row["line"])
        assert 0 <= wall_ms < row["wall_ms"]


def test_tokens_of_sessions_are_the_same():
    for session, expected in reference().items():
        if session in ORPHANS:
            continue
        requests, _ = owned(session)
        found = tokens([request for of_execution in requests.values() for request in of_execution])
        assert found == {name: sum(row[name] for row in expected) for name in found}, session


def test_work_without_commands_is_an_orphan_with_the_tokens_and_cost_that_the_peer_tool_sees():
    for session, (_, total, cost) in ORPHANS.items():
        requests, _ = owned(session)
        [(_, of_orphan)] = requests.items()
        assert sum(tokens(of_orphan).values()) == total
        assert sum(request.reported_cost_usd for request in of_orphan) == pytest.approx(cost)


def test_placeholders_of_output_are_found_where_they_are():
    subagents = [path for path in PROJECTS.glob("spotter/*/subagents/*.jsonl") if records(path).requests]
    headless = list(PROJECTS.glob("claude-reliability--*/*.jsonl"))
    assert len(subagents) == 4 and len(headless) == 2
    for path in subagents + headless:
        verdicts = [request.is_output_reliable for request in records(path).requests.values()]
        assert sum(verdicts) <= len(verdicts) / 2, path
    for path in PROJECTS.glob("spotter/*-*.jsonl"):
        requests = list(records(path).requests.values())
        doubted = [request.output_tokens for request in requests if not request.is_output_reliable]
        # One to thirty tokens for hundreds of characters: they hardly count in what the session wrote.
        assert doubted and max(doubted) < 30
        assert sum(doubted) < 0.01 * sum(request.output_tokens for request in requests)


def test_every_line_of_the_corpus_is_accounted_for():
    bad = Counter()
    for path in sorted(PROJECTS.rglob("*.jsonl")):
        data = path.read_bytes()
        found = records(path)
        good = sum(chunk.good_lines for chunk in found.chunks)
        assert good + len(found.bad) == sum(bool(line.strip()) for line in data.split(b"\n")), path
        bad.update(line.reason for line in found.bad.values())
    assert bad == {"not_an_object": 3, "unexpected_shape": 1}


def test_transcripts_are_recognised_and_other_logs_are_not():
    for path in sorted(path for path in CORPUS.rglob("*") if path.is_file() and "ground_truth" not in path.parts):
        with path.open("rb") as stream:
            found = detect(stream.read(DETECTION_BYTES))
        if path.suffix == ".jsonl" and "claude_code" in path.parts:
            assert found == "claude_code", path
        elif path.suffix == ".jsonl" and "claude_stream_json" in path.parts:
            assert found == "stream_json", path
        elif path.suffix == ".jsonl" and "codex" in path.parts:
            assert found == "codex", path
        else:
            assert found is None, path


def test_ten_thousand_damaged_real_lines_are_all_accounted_for():
    paths = [
        PROJECTS / "spotter/tool_heavy.jsonl",
        *PROJECTS.glob("claude*/*.jsonl"),
        *PROJECTS.glob("bastion/*.jsonl"),
    ]
    lines = [line for path in paths for line in path.read_bytes().split(b"\n") if 0 < len(line) < 20_000]
    survives_ten_thousand_damaged_lines([line for line in lines if line.startswith(b"{")], "claude_code")


@pytest.mark.parametrize("session", ["spotter/tool_heavy.jsonl", "claude-code-log--test_data/edge_cases.jsonl"])
def test_real_transcripts_may_be_cut_anywhere(session):
    data = (PROJECTS / session).read_bytes()
    whole = Records(chunks_of(data)).everything()
    for cut in range(0, len(data), 997):
        begun = chunks_of(data[:cut], chunk_bytes=4096)
        assert Records([*begun, *chunks_of(data, after=begun[-1])]).everything() == whole, cut


def test_executions_begin_and_end_within_their_session():
    for session in reference():
        found = records(PROJECTS / session)
        for execution in found.listed:
            assert isinstance(execution.timestamp, datetime) and execution.timestamp <= execution.ended_at
            assert execution.session_id
