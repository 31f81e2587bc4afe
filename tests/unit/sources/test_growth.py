"""Reading a growing file in parts gives what reading it whole gives, wherever the parts end."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import CAVEAT, Records, Transcript, chunks_of, text, tool

SESSION = "5e551014-0000-4000-8000-000000000009"


def append(transcript: Transcript, step: str, number: int) -> None:
    """One turn of a conversation, or an accident of one."""
    message = {"id": f"msg_{number}", "request": f"req_{number}"}
    if step == "prompt":
        transcript.user(f"Prompt {number}", promptId=f"00000000-0000-4000-9000-{number:012d}")
    elif step == "same_prompt_id":
        transcript.user(f"Prompt {number}", promptId="00000000-0000-4000-9000-999999999999")
    elif step == "answer":
        transcript.assistant(text("So"), usage={"output_tokens": 1}, **message)
        transcript.assistant(text("be it."), usage={"output_tokens": number}, stop="end_turn", **message)
    elif step == "tool":
        transcript.assistant(tool(f"tool_{number}", "Agent"), **message)
    elif step == "late_answer":
        transcript.assistant(text("more"), id="msg_late", request="req_late", usage={"output_tokens": number})
    elif step == "result":
        transcript.result(f"tool_{number - 1}", toolUseResult={"agentId": f"a{number}"})
    elif step == "late_result":
        transcript.result(f"tool_{number // 2}", "no", is_error=True)
    elif step == "local":
        transcript.user(CAVEAT, isMeta=True).user("<command-name>/clear</command-name>")
        transcript.user("<local-command-stdout>ok\0</local-command-stdout>")
    elif step == "bash":
        transcript.user("<bash-input>ls</bash-input>", promptId=f"00000000-0000-4000-9000-{number - 1:012d}")
        transcript.user("<bash-stdout></bash-stdout><bash-stderr>no</bash-stderr>")
    elif step == "interrupt":
        transcript.user("[Request interrupted by user]")
    elif step == "error":
        transcript.assistant(text("API Error"), isApiErrorMessage=True, model="<synthetic>", **message)
    elif step == "sidechain":
        transcript.assistant(text("side"), isSidechain=True, **message)
    elif step == "agent":
        transcript.user("Look", isSidechain=True, agentId="a1", promptId=f"00000000-0000-4000-9000-{number:012d}")
        transcript.assistant(tool(f"agent_tool_{number}"), isSidechain=True, agentId="a1", **message)
    elif step == "unknown":
        transcript.line(type="novelty")
    elif step == "bad":
        transcript.lines.append('{"type": 1')
    elif step == "blank":
        transcript.lines.append("  ")


STEPS = [
    "prompt", "same_prompt_id", "answer", "tool", "late_answer", "result", "late_result", "local", "bash", "interrupt",
    "error", "sidechain", "agent", "unknown", "bad", "blank",
]  # fmt: skip


def conversation(steps: list[str]) -> bytes:
    transcript = Transcript(SESSION)
    for number, step in enumerate(steps, 1):
        append(transcript, step, number)
    return bytes(transcript)


def grown(data: bytes, cuts: list[int], source: str, chunk_bytes: int) -> Records:
    """The file as seen at each of its lengths, read on from the last checkpoint each time."""
    chunks = []
    for cut in [*sorted(cuts), len(data)]:
        chunks += chunks_of(data[:cut], source, after=chunks[-1] if chunks else None, chunk_bytes=chunk_bytes)
        assert data[: chunks[-1].offset].count(b"\n") == chunks[-1].lines
        assert chunks[-1].offset <= cut
    return Records(chunks)


def counted(records: Records) -> tuple[int, int]:
    last = records.chunks[-1]
    return sum((chunk.unknown for chunk in records.chunks), last.open_unknown).total(), len(records.bad)


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=14),
    fractions=st.lists(st.floats(0, 1), max_size=4),
    chunk_bytes=st.sampled_from([1, 500, 8 << 20]),
)
def test_a_transcript_read_in_parts_equals_one_read_whole(steps, fractions, chunk_bytes):
    data = conversation(steps)
    whole = Records(chunks_of(data))
    parts = grown(data, [int(len(data) * fraction) for fraction in fractions], "claude_code", chunk_bytes)
    assert parts.everything() == whole.everything()
    assert counted(parts) == counted(whole)


@pytest.mark.parametrize("chunk_bytes", [1, 8 << 20])
def test_every_single_cut_of_a_long_conversation_is_harmless(chunk_bytes):
    steps = ["prompt", "tool", "late_answer", "local", "result", "late_answer", "bash", "answer", "same_prompt_id",
             "agent", "same_prompt_id", "interrupt", "unknown", "bad", "prompt", "error"]  # fmt: skip
    data = conversation(steps)
    whole = Records(chunks_of(data)).everything()
    for cut in range(0, len(data), 17):
        assert grown(data, [cut], "claude_code", chunk_bytes).everything() == whole


def run_lines(steps: list[str]) -> bytes:
    lines: list[dict] = []
    for number, step in enumerate(steps):
        base = {"session_id": f"s{number // 4}", "uuid": f"u{number}"}
        if step == "init":
            lines.append({"type": "system", "subtype": "init", "cwd": "/w", "model": "m", **base})
        elif step == "hook":
            lines.append({"type": "system", "subtype": "hook_started", **base})
        elif step == "answer":
            message = {"id": f"m{number}", "model": "m", "content": [tool(f"t{number}")], "usage": {"output_tokens": 1}}
            lines.append({"type": "assistant", "message": message, "request_id": f"r{number}", **base})
        elif step == "user":
            block = {"type": "tool_result", "tool_use_id": f"t{number - 1}", "content": "x"}
            moment = f"2026-03-02T09:00:{number:02d}Z"
            lines.append({"type": "user", "message": {"content": [block]}, "timestamp": moment, **base})
        elif step == "result":
            lines.append({"type": "result", "subtype": "success", "duration_ms": 3000, "total_cost_usd": 0.5, **base})
        else:
            lines.append({"type": "novelty"})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["init", "hook", "answer", "user", "result", "unknown"]), min_size=1, max_size=12),
    fractions=st.lists(st.floats(0, 1), max_size=4),
    chunk_bytes=st.sampled_from([1, 8 << 20]),
)
def test_a_stream_read_in_parts_equals_one_read_whole(steps, fractions, chunk_bytes):
    data = run_lines(steps)
    whole = Records(chunks_of(data, "stream_json"))
    parts = grown(data, [int(len(data) * fraction) for fraction in fractions], "stream_json", chunk_bytes)
    assert parts.everything() == whole.everything()
    assert counted(parts) == counted(whole)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["init", "hook", "answer", "user", "result", "unknown"]), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_a_run_that_is_still_written_has_the_identity_that_it_keeps(steps):
    lines = []
    for raw, (_, has_uuid) in zip(run_lines([step for step, _ in steps]).splitlines(), steps, strict=True):
        line = json.loads(raw) | {"session_id": "s1"}
        lines.append({name: value for name, value in line.items() if has_uuid or name != "uuid"})
    data = [json.dumps(line).encode() + b"\n" for line in lines]
    whole = set(Records(chunks_of(b"".join(data), "stream_json")).executions)
    for length in range(1, len(data)):
        assert set(Records(chunks_of(b"".join(data[:length]), "stream_json")).executions) <= whole


def test_a_chunk_ends_before_an_execution_once_it_is_large_enough():
    data = conversation(["prompt", "answer"] * 50)
    chunks = chunks_of(data, chunk_bytes=2000)
    assert len(chunks) > 5
    assert all(2000 <= after.offset - before.offset < 5000 for before, after in pairwise(chunks[:-1]))
    assert sum(len(chunk.executions) for chunk in chunks) == 50
    assert all(len(json.dumps(chunk.state)) < 5000 for chunk in chunks)
