"""Codex CLI rollouts: ``rollout-<time>-<id>.jsonl`` under ``~/.codex/sessions``, as written since 2025.

:func:`read` yields chunks of a few megabytes. Each ends where an execution starts, so a chunk and its checkpoint can
be committed together; the last one ends before the execution that is still open and holds its records so far.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from pipelines.sources.draft import Draft
from pipelines.sources.lines import UnusableLine, read_objects
from pipelines.sources.records import Chunk

from .memory import Memory, Segment
from .rollout import Rollout
from .schema import Line, decode


def read(
    stream: BinaryIO,
    *,
    offset: int,
    lines: int,
    state: dict[str, Any],
    fallback_time: datetime,
    chunk_bytes: int = 8 << 20,
) -> Iterator[Chunk]:
    """Chunks of the rollout in ``stream``, which stands at ``offset`` with ``lines`` lines before it.

    ``state`` is that of the chunk after which to go on, empty at the start of a file. Every line has its own clock,
    so ``fallback_time`` is not used.
    """
    rollout = Rollout(msgspec.convert(state, Memory), offset=offset, lines=lines)
    draft = Draft()
    chunk_start = offset
    for item in read_objects(stream, decode, decode, offset=offset, lines=lines):
        if type(item.value) is not Line:
            draft.set_aside(item.value)
            continue
        try:
            closed = rollout.add(item)
        except (UnusableLine, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            draft.unusable(item, error)
            continue
        if closed is not None:
            _add(draft, closed, is_last=False)
            draft.unknown += closed.unknown
            if item.offset - chunk_start >= chunk_bytes:
                yield _chunk(draft, rollout, Counter())
                draft, chunk_start = Draft(), item.offset
        draft.good_lines += 1
    _add(draft, rollout.segment, is_last=True)
    yield _chunk(draft, rollout, rollout.segment.unknown)


def _add(draft: Draft, segment: Segment, *, is_last: bool) -> None:
    execution = segment.execution
    draft.add(
        execution.finished(segment.tools, is_last=is_last) if execution else None,
        segment.requests.values(),
        segment.tools.values(),
    )


def _chunk(draft: Draft, rollout: Rollout, open_unknown: Counter[str]) -> Chunk:
    segment = rollout.segment
    return draft.chunk(
        offset=segment.offset,
        lines=segment.lines,
        state=msgspec.to_builtins(segment.memory),
        cwd=rollout.cwd,
        open_unknown=open_unknown,
    )
