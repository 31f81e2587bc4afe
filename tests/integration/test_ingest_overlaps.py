"""The same response in several logs of several formats: one row, whichever was read first."""

import itertools
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.settings import Settings

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


def transcript(path: Path, session: str) -> Path:
    common = {"sessionId": session, "cwd": "/src/shop", "version": "2.1.97", "isSidechain": False}
    prompt = {"role": "user", "content": f"a prompt of {session}"}
    lines = (
        {**common, "type": "user", "uuid": f"{session}-1", "timestamp": "2026-10-05T12:00:00Z", "message": prompt},
        {
            **common,
            "type": "assistant",
            "uuid": f"{session}-2",
            "timestamp": "2026-10-05T12:00:01Z",
            "requestId": "req_1",
            "message": ANSWER,
        },
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
        transcript(tmp_path / "s-1.jsonl", "s-1"),
        transcript(tmp_path / "s-2.jsonl", "s-2"),
    )
    for number in order:
        ingest.run([logs[number]], dsn=settings.database_url, settings=settings, jobs=1, project="shop")
    assert connection.execute("select message_id, request_id, output_tokens from raw.model_requests").fetchall() == [
        ("msg_1", "req_1", 10)
    ]
    assert connection.execute("select sum(total_tokens) from raw.command_executions").fetchone() == (1015,)
