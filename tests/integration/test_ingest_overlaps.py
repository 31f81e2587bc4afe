"""The same response in several logs of several formats: one row, whichever was read first."""

import itertools
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.settings import Settings
from pipelines.sources.records import stable_uuid
from tests import source_files

USAGE = {"input_tokens": 5, "cache_read_input_tokens": 1000, "output_tokens": 10}
ANSWER = {
    "id": "msg_1",
    "role": "assistant",
    "model": "claude-sonnet-4-6",
    "content": [{"type": "text", "text": "done"}],
    "stop_reason": "end_turn",
    "usage": USAGE,
}


def headless_run(path: Path) -> Path:
    """What ``claude -p`` printed; its older versions leave the ids of requests out."""
    lines = (
        {"type": "system", "subtype": "init", "session_id": "s-1", "cwd": "/src/shop", "model": "claude-sonnet-4-6"},
        {"type": "assistant", "session_id": "s-1", "uuid": "run-1", "message": ANSWER},
    )
    return written(path, *lines)


def transcript(path: Path, session: str, *request_ids: str | None) -> Path:
    """A prompt and its answer, seen once under each of the ids."""
    common = {"sessionId": session, "cwd": "/src/shop", "version": "2.1.97", "isSidechain": False}
    prompt = {"role": "user", "content": f"a prompt of {session}"}
    lines = (
        {**common, "type": "user", "uuid": f"{session}-1", "timestamp": "2026-10-05T12:00:00Z", "message": prompt},
        *(
            {
                **common,
                "type": "assistant",
                "uuid": f"{session}-answer-{request_id}",
                "timestamp": "2026-10-05T12:00:01Z",
                "requestId": request_id,
                "message": ANSWER,
            }
            for request_id in request_ids
        ),
    )
    return written(path, *lines)


def written(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_a_response_without_its_request_id_is_the_one_of_the_transcript_and_of_its_copies(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, order: tuple[int, ...]
) -> None:
    logs = (
        headless_run(tmp_path / "run.jsonl"),
        transcript(tmp_path / "s-1.jsonl", "s-1", "req_1"),
        transcript(tmp_path / "s-2.jsonl", "s-2", "req_1"),
    )
    for number in order:
        ingest.run([logs[number]], dsn=settings.database_url, settings=settings, jobs=1, project="shop")
    assert connection.execute("select message_id, request_id, output_tokens from raw.model_requests").fetchall() == [
        ("msg_1", "req_1", 10)
    ]
    assert connection.execute("select sum(total_tokens) from raw.command_executions").fetchone() == (1015,)


def stored(connection: psycopg.Connection) -> tuple[list[Any], int]:
    """Ids of the responses, and tokens of all executions."""
    ids = connection.execute("select message_id, request_id from raw.model_requests order by 1, 2").fetchall()
    (tokens,) = connection.execute("select sum(total_tokens) from raw.command_executions").fetchone()
    return ids, tokens


@pytest.mark.parametrize("batches", [((0, 1),), ((1, 0),), ((0,), (1,)), ((1,), (0,))], ids=str)
@pytest.mark.parametrize("request_ids", [("req_1",), ("req_1", "req_2")], ids=len)
def test_a_line_without_its_request_id_is_that_of_another_transcript_in_one_batch_or_in_two(
    settings: Settings,
    connection: psycopg.Connection,
    tmp_path: Path,
    batches: tuple[tuple[int, ...], ...],
    request_ids: tuple[str, ...],
) -> None:
    names = ("a.jsonl", "b.jsonl")
    without, other = names if batches[0][0] == 0 else reversed(names)
    logs = transcript(tmp_path / without, "s-1", None), transcript(tmp_path / other, "s-2", *request_ids)
    for batch in batches:
        paths = [logs[number] for number in batch]
        ingest.run(paths, dsn=settings.database_url, settings=settings, jobs=1, project="shop")
    assert stored(connection) == ([("msg_1", request_id) for request_id in request_ids], 1015 * len(request_ids))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_only_one_request_adopts_a_response_without_its_request_id(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, order: tuple[int, ...]
) -> None:
    logs = (
        headless_run(tmp_path / "run.jsonl"),
        transcript(tmp_path / "s-1.jsonl", "s-1", "req_A", "req_B"),
        transcript(tmp_path / "s-2.jsonl", "s-2", "req_B", "req_A"),
    )
    for number in order:
        ingest.run([logs[number]], dsn=settings.database_url, settings=settings, jobs=1, project="shop")
    assert stored(connection) == ([("msg_1", "req_A"), ("msg_1", "req_B")], 2030)


@pytest.mark.parametrize("batches", [((0, 1),), ((0,), (1,)), ((1,), (0,))], ids=str)
@pytest.mark.parametrize("tail", [0, 1, 2], ids=["equal", "longer", "with another command"])
@pytest.mark.parametrize("longer", ["s-0", "s-1"])
def test_a_command_of_a_session_and_its_fork_has_the_settings_of_the_session_that_names_it(
    settings: Settings,
    connection: psycopg.Connection,
    tmp_path: Path,
    batches: tuple[tuple[int, ...], ...],
    tail: int,
    longer: str,
) -> None:
    logs = []
    for session in ("s-0", "s-1"):
        log = source_files.Transcript(session, version=f"version of {session}", cwd=f"/src/{session}")
        log.user("hello").assistant(source_files.tool("toolu_1"))
        if session == longer and tail == 1:
            log.result("toolu_1")
        elif session == longer and tail == 2:
            log.user("go on")
        logs.append(tmp_path / f"{session}.jsonl")
        logs[-1].write_bytes(bytes(log))
    for batch in batches:
        paths = [logs[number] for number in batch]
        ingest.run(paths, dsn=settings.database_url, settings=settings, jobs=1, project="shop")
    assert connection.execute(
        "select session_id, batch_id::text, session_context ->> 'version', workspace_context ->> 'cwd' "
        "from raw.command_executions where command_raw = 'hello'"
    ).fetchall() == [("s-0", stable_uuid("s-0"), "version of s-0", "/src/s-0")]
