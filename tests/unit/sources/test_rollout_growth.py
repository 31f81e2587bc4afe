"""Reading a growing rollout in parts gives what reading it whole gives, wherever the parts end."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_files import START, Rollout, usage
from source_files import Records, chunks_of


def append(rollout: Rollout, step: str, number: int) -> None:
    """One event of a session, or an accident of one."""
    steps = {
        "prompt": lambda: rollout.prompt(f"Prompt {number}"),
        "begin": lambda: rollout.begin(f"gpt-5.{number % 5}"),
        "steer": lambda: rollout.user(f"Also {number}"),
        "context": lambda: rollout.context(turn_id=None),
        "says": lambda: rollout.says("So be it\0"),
        "reasons": lambda: rollout.item("reasoning", summary=[]),
        "call": lambda: rollout.call(f"c{number}"),
        "search": lambda: rollout.item("web_search_call", id=f"ws_{number}"),
        "output": lambda: rollout.output(f"c{number - 1}"),
        "late_output": lambda: rollout.output(f"c{number // 2}", "failed to do it"),
        "exec_end": lambda: rollout.event("exec_command_end", call_id=f"c{number - 1}", exit_code=number % 2),
        "tokens": lambda: rollout.tokens(100 + number, 60, number),
        "again": lambda: rollout.count(rollout.totals, usage()),
        "reset": lambda: (setattr(rollout, "totals", usage()), rollout.tokens()),
        "compact": lambda: rollout.add("compacted", message="so far"),
        "review": lambda: rollout.event("entered_review_mode"),
        "end": lambda: rollout.end(),
        "abort": lambda: rollout.abort(),
        "error": lambda: rollout.event("error", message="quota"),
        "resume": lambda: rollout.add("session_meta", id=rollout.thread, cwd="/elsewhere"),
        "foreign": lambda: rollout.add("session_meta", id="019c0000-0000-7000-8000-000000000000", cwd="/a"),
        "unknown": lambda: rollout.event("novelty"),
        "bad": lambda: rollout.lines.append('{"type": 1'),
        "blank": lambda: rollout.lines.append("  "),
    }
    steps[step]()


STEPS = [
    "prompt", "begin", "steer", "context", "says", "reasons", "call", "search", "output", "late_output", "exec_end",
    "tokens", "again", "reset", "compact", "review", "end", "abort", "error", "resume", "foreign", "unknown", "bad",
    "blank",
]  # fmt: skip


def session(steps: list[str], **meta: object) -> Rollout:
    rollout = Rollout(**meta)
    for number, step in enumerate(steps, 1):
        append(rollout, step, number)
    return rollout


def grown(data: bytes, cuts: list[int], chunk_bytes: int) -> Records:
    """The file as seen at each of its lengths, read on from the last checkpoint each time."""
    chunks = []
    for cut in [*sorted(cuts), len(data)]:
        chunks += chunks_of(data[:cut], "codex", after=chunks[-1] if chunks else None, chunk_bytes=chunk_bytes)
        assert data[: chunks[-1].offset].count(b"\n") == chunks[-1].lines
        assert chunks[-1].offset <= cut
    return Records(chunks)


def counted(records: Records) -> tuple[int, int]:
    last = records.chunks[-1]
    return sum((chunk.unknown for chunk in records.chunks), last.open_unknown).total(), len(records.bad)


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=16),
    fractions=st.lists(st.floats(0, 1), max_size=4),
    chunk_bytes=st.sampled_from([1, 500, 8 << 20]),
    copies=st.booleans(),
)
def test_a_rollout_read_in_parts_equals_one_read_whole(steps, fractions, chunk_bytes, copies):
    rollout = session(steps)
    data = bytes(rollout.forked().prompt("On").tokens() if copies else rollout)
    whole = Records(chunks_of(data, "codex"))
    parts = grown(data, [int(len(data) * fraction) for fraction in fractions], chunk_bytes)
    assert parts.everything() == whole.everything()
    assert counted(parts) == counted(whole)


@pytest.mark.parametrize("chunk_bytes", [1, 8 << 20])
def test_every_single_cut_of_a_long_session_is_harmless(chunk_bytes):
    steps = ["prompt", "says", "call", "tokens", "output", "steer", "tokens", "end", "begin", "tokens", "compact",
             "end", "prompt", "call", "abort", "prompt", "late_output", "exec_end", "again", "reset", "unknown", "bad",
             "review", "tokens", "error"]  # fmt: skip
    data = bytes(session(steps).forked(after=timedelta(hours=2)).prompt("On").tokens())
    whole = Records(chunks_of(data, "codex")).everything()
    for cut in range(0, len(data), 23):
        assert grown(data, [cut], chunk_bytes).everything() == whole


def test_every_token_of_the_counters_is_in_exactly_one_response():
    rollout = session(["prompt", "tokens", "steer", "tokens", "again", "end", "begin", "tokens", "prompt", "tokens"])
    requests = Records(chunks_of(bytes(rollout), "codex")).requests.values()
    assert (
        sum(request.input_tokens + request.cache_read_tokens for request in requests) == rollout.totals["input_tokens"]
    )
    assert sum(request.output_tokens for request in requests) == rollout.totals["output_tokens"]


def test_a_chunk_ends_before_an_execution_once_it_is_large_enough():
    data = bytes(session(["prompt", "tokens", "end"] * 50, start=START))
    chunks = chunks_of(data, "codex", chunk_bytes=4000)
    assert len(chunks) > 5
    assert all(4000 <= after.offset - before.offset < 6000 for before, after in pairwise(chunks[:-1]))
    assert sum(len(chunk.executions) for chunk in chunks) == 50
