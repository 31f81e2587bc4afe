"""Claude Code session transcripts, versions 1.0 to 2.1, subagent files included.

:func:`read` yields chunks of a few megabytes. Each ends where an execution starts, so a chunk and its checkpoint can
be committed together; the last one ends before the execution that is still open and holds its records so far.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from pipelines.sources.draft import Draft
from pipelines.sources.lines import UnusableLine, read_lines
from pipelines.sources.records import Chunk

from .schema import SILENT, Line, decode, decode_leniently
from .transcript import Memory, Segment, Transcript


def read(
    stream: BinaryIO,
    *,
    offset: int,
    lines: int,
    state: dict[str, Any],
    fallback_time: datetime,
    chunk_bytes: int = 8 << 20,
) -> Iterator[Chunk]:
    """Chunks of the transcript in ``stream``, which stands at ``offset`` with ``lines`` lines before it.

    ``state`` is that of the chunk after which to go on, empty at the start of a file. Every line that matters has
    its own clock, so ``fallback_time`` is not used.
    """
    transcript = Transcript(msgspec.convert(state, Memory), offset=offset, lines=lines)
    draft = Draft()
    chunk_start = offset
    for part in read_lines(stream, decode, decode_leniently, offset=offset, lines=lines):
        for index, line in enumerate(part.values):
            if type(line) is not Line:
                draft.set_aside(line)
                continue
            if line.type in SILENT and transcript.has_begun:
                transcript.pass_over(line)
                draft.good_lines += 1
                continue
            item = part.item(index)
            try:
                closed = transcript.add(item)
            except (UnusableLine, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                draft.unusable(item, error)
                continue
            if closed is not None:
                _add(draft, closed, is_last=False)
                draft.unknown += closed.unknown
                if item.offset - chunk_start >= chunk_bytes:
                    yield _chunk(draft, transcript, Counter())
                    draft, chunk_start = Draft(), item.offset
            draft.good_lines += 1
    _add(draft, transcript.segment, is_last=True)
    yield _chunk(draft, transcript, transcript.segment.unknown)


def _add(draft: Draft, segment: Segment, *, is_last: bool) -> None:
    execution = segment.execution
    draft.add(
        execution.finished(segment.tools, is_last=is_last) if execution else None,
        [response.finished() for response in segment.responses.values()],
        segment.tools.values(),
    )


def _chunk(draft: Draft, transcript: Transcript, open_unknown: Counter[str]) -> Chunk:
    segment = transcript.segment
    return draft.chunk(
        offset=segment.offset,
        lines=segment.lines,
        state=msgspec.to_builtins(segment.memory),
        cwd=transcript.memory.cwd,
        open_unknown=open_unknown,
    )
