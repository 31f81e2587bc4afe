"""Files that grow between two runs: what is stored is what a single reading of the whole file gives."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.settings import Settings
from tests.source_files import CAVEAT, Transcript, text, tool

ANSWERED_AT = "2026-03-02T09:00:01.000Z"
BEFORE_THE_PROMPT = "2026-03-02T08:59:00.000Z"


def run(settings: Settings, transcript: Transcript, path: Path, project: str = "shop") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(transcript))
    ingest.run([path], dsn=settings.database_url, settings=settings, jobs=1, project=project)


def interruption(transcript: Transcript, at: str) -> None:
    transcript.user("[Request interrupted by user]", timestamp=at)


def api_error(transcript: Transcript, at: str) -> None:
    transcript.assistant(
        text("out of usage"), id="error", request=None, model="<synthetic>", timestamp=at, isApiErrorMessage=True
    )


def tool_use(transcript: Transcript, at: str) -> None:
    transcript.assistant(tool("toolu_1"), timestamp=at)


def next_command(transcript: Transcript, at: str) -> None:
    tool_use(transcript, at)
    transcript.user(CAVEAT, isMeta=True, timestamp=at)
    transcript.user("<command-name>/exit</command-name>", timestamp=at)


def another_answer(transcript: Transcript, at: str) -> None:
    interruption(transcript, at)
    transcript.assistant(text("more"), id="msg_2", timestamp=at)


@pytest.mark.parametrize("at", [ANSWERED_AT, BEFORE_THE_PROMPT], ids=["clock stands still", "clock goes back"])
@pytest.mark.parametrize(
    ("tail", "verdict"),
    [
        (interruption, ("cancelled", "interrupted")),
        (api_error, ("failed", "api_error")),
        (tool_use, ("pending", "unanswered_tool")),
        (next_command, ("completed", "answered")),
        (another_answer, ("completed", "answered")),
    ],
)
def test_lines_that_do_not_advance_the_clock_count_as_much_as_others(
    settings: Settings,
    connection: psycopg.Connection,
    tmp_path: Path,
    tail: Any,
    verdict: tuple[str, str],
    at: str,
) -> None:
    whole = Transcript().user("hello").assistant(text("done"))
    tail(whole, at)
    grown = Transcript()
    for end in range(2, len(whole.lines) + 1):
        grown.lines = whole.lines[:end]
        run(settings, grown, tmp_path / "s.jsonl", "grown")
    run(settings, whole, tmp_path / "s.jsonl", "whole")
    rows = connection.execute(
        "select distinct status, status_reason, ended_at, output_characteristics::text from raw.command_executions "
        "where command_raw = 'hello'"
    ).fetchall()
    assert [row[:2] for row in rows] == [verdict]


def test_a_verdict_from_another_file_outlives_lines_that_say_nothing(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    original = Transcript("s-0").user("hello").assistant(tool("toolu_1"))
    resumed = Transcript("s-1").user("hello").assistant(tool("toolu_1")).user("go on")
    run(settings, original, tmp_path / "s-0.jsonl")
    run(settings, resumed, tmp_path / "s-1.jsonl")
    run(settings, original.line(type="ai-title", title="greeting"), tmp_path / "s-0.jsonl")
    assert connection.execute(
        "select status, status_reason from raw.command_executions where command_raw = 'hello'"
    ).fetchall() == [("completed", "answered")]


def test_a_file_cut_short_takes_nothing_back(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript().user("hello").assistant(text("done"))
    run(settings, transcript, tmp_path / "s.jsonl")
    del transcript.lines[1:]
    run(settings, transcript, tmp_path / "s.jsonl")
    assert connection.execute("select status, request_count from raw.command_executions").fetchall() == [
        ("completed", 1)
    ]


def test_a_command_has_no_duration_until_it_is_answered(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    def duration() -> Any:
        (found,) = connection.execute("select execution_time_ms from raw.command_executions").fetchall()
        return found[0]

    transcript = Transcript().user("hello")
    run(settings, transcript, tmp_path / "s.jsonl")
    assert duration() is None
    run(settings, transcript.assistant(text("done"), timestamp=ANSWERED_AT), tmp_path / "s.jsonl")
    assert duration() == 1000


def test_an_unanswered_copy_leaves_the_duration_that_another_file_knows(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    answered = Transcript("s-0").user("hello").assistant(text("done"), timestamp=ANSWERED_AT)
    copied = Transcript("s-1").user("hello")
    for name, transcript in (("a", copied), ("b", answered), ("c", copied)):
        run(settings, transcript, tmp_path / f"{name}.jsonl")
    assert connection.execute("select execution_time_ms from raw.command_executions").fetchall() == [(1000,)]


def test_a_subagents_work_goes_to_its_command_when_its_result_comes_after_another_command(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "s.jsonl"
    parent = Transcript().user("hello").assistant(tool("toolu_1", "Task"), id="msg_parent")
    parent.event("system", subtype="local_command", content="<command-name>/tasks</command-name>")
    agent = Transcript(agentId="a1", isSidechain=True).event("progress").event("progress").event("progress")
    agent.user("sub task").assistant(tool("toolu_2"), id="msg_a").result("toolu_2").assistant(text("done"), id="msg_b")
    run(settings, parent, path)
    run(settings, agent, tmp_path / "s" / "subagents" / "agent-a1.jsonl")
    parent.result("toolu_1", toolUseResult={"agentId": "a1"}).assistant(text("seen"), id="msg_after")
    run(settings, parent, path)
    assert connection.execute(
        "select command_raw, request_count, tool_calls from raw.command_executions order by timestamp"
    ).fetchall() == [("hello", 3, 2), ("/tasks", 1, 0)]
