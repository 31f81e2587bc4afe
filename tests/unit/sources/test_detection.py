"""A format is told by what a file holds, never by its name."""

import json

import pytest
from rollout_files import Rollout
from source_files import Transcript, text

from pipelines.sources import DETECTION_BYTES, detect

RESULT = {
    "type": "result", "subtype": "success", "is_error": False, "duration_ms": 5, "session_id": "s", "total_cost_usd": 0,
}  # fmt: skip
INIT = {"type": "system", "subtype": "init", "session_id": "s", "cwd": "/w"}


def as_lines(*objects: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in objects)


@pytest.mark.parametrize(
    "head",
    [
        bytes(Transcript().user("Go")),
        b"\xef\xbb\xbf" + bytes(Transcript().user("Go")),
        as_lines({"type": "summary", "summary": "…", "leafUuid": "u"}),
        as_lines({"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}),
        as_lines({"type": "mode", "mode": "normal", "sessionId": "s"}),
        as_lines({"type": "queue-operation", "operation": "enqueue", "sessionId": "s"}),
        as_lines({"type": "novelty"}, "a string") + b"garbage\n" + bytes(Transcript().user("Go")),
        as_lines({"sessionId": "s", "message": {"role": "assistant", "usage": {}}, "costUSD": 0.1}),
        bytes(Transcript().user("x" * DETECTION_BYTES)),
        bytes(Transcript().user("Go").assistant(text("…")))[:150],
    ],
)
def test_transcripts(head):
    assert detect(head) == "claude_code"


@pytest.mark.parametrize(
    "head",
    [
        as_lines(INIT, RESULT),
        as_lines({"type": "system", "subtype": "hook_started", "session_id": "s"}, INIT),
        as_lines(RESULT),
        as_lines({"type": "result", "subtype": "success", "duration_ms": 1, "cost_usd": 0.1}),
        json.dumps(RESULT, indent=2).encode(),
        json.dumps([INIT, RESULT]).encode(),
        json.dumps([INIT, RESULT], indent=2).encode(),
        json.dumps([INIT, {"filler": "x" * DETECTION_BYTES}, RESULT], indent=2).encode(),
        as_lines(INIT | {"tools": ["x" * DETECTION_BYTES]}),
    ],
)
def test_output_of_headless_runs(head):
    assert detect(head) == "stream_json"


@pytest.mark.parametrize(
    "head",
    [
        bytes(Rollout().prompt("Go")),
        b"\xef\xbb\xbf" + bytes(Rollout()),
        b"garbage\n" + bytes(Rollout()),
        as_lines({"timestamp": "2026-01-01T00:00:00Z", "type": "response_item", "payload": {"type": "message"}}),
        bytes(Rollout(base_instructions={"text": "x" * DETECTION_BYTES})),
        bytes(Rollout(base_instructions={"text": 'say \\"sessionId\\": \\"s\\"' * DETECTION_BYTES})),
        bytes(Rollout())[:100],
    ],
)
def test_rollouts(head):
    assert detect(head) == "codex"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n\n",
        b"\x00\x01\x02\xff" * 100,
        b"just words\nand more\n",
        b"[",
        b"{",
        b"[" * 100_000,
        b"42\n",
        as_lines({"timestamp": "2026-01-01T00:00:00Z", "type": "session_meta"}),
        as_lines({"type": "event_msg", "payload": {}}),
        as_lines({"version": 2, "status": "success", "eval": {}, "samples": []}),
        as_lines({"evalId": "e", "results": {"version": 3}}),
        as_lines({"type": "user", "name": "a person"}),
        json.dumps([{"task_id": 1, "reward": 1.0}]).encode(),
    ],
)
def test_anything_else_is_not_ours(head):
    assert detect(head) is None
