"""Which thread a turn belongs to: a fork's file begins with a copy of the threads it was forked from.

The copy's lines carry the time of the fork, and nothing marks its end. But ids of threads and turns are UUIDs of
version 7, which hold the time at which they were made: a turn belongs to the youngest thread that existed when it
began. A copied turn keeps its id, so it is the same execution as in the file it was copied from.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .schema import SessionMeta

_THREADS_REMEMBERED = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Thread(msgspec.Struct, frozen=True):
    """A conversation with its counters, as its ``session_meta`` describes it."""

    id: str
    session_id: str
    """The thread, or for a subagent the one that it works for."""
    agent_id: str | None = None
    """The thread itself when a subagent's."""
    is_forked: bool = False
    """Its counters may go on from those of another thread."""
    cwd: str | None = None
    git_branch: str | None = None
    git_commit: str | None = None
    version: str | None = None
    entrypoint: str | None = None

    @property
    def started_at(self) -> datetime | None:
        """When it was made, where its id says so."""
        return time_in(self.id)


def thread_of(meta: SessionMeta) -> Thread | None:
    """The thread that ``meta`` describes; None when it names none."""
    if meta.id is None:
        return None
    parent = _parent(meta)
    return Thread(
        id=meta.id,
        session_id=(meta.session_id or parent) if parent else meta.id,
        agent_id=meta.id if parent else None,
        is_forked=meta.forked_from_id is not None or parent is not None,
        cwd=meta.cwd,
        git_branch=meta.git.branch if meta.git else None,
        git_commit=meta.git.commit_hash if meta.git else None,
        version=meta.cli_version,
        entrypoint=meta.source if isinstance(meta.source, str) else meta.originator,
    )


def with_thread(threads: list[Thread], thread: Thread) -> list[Thread]:
    """``threads`` and this one; the file's own stays the first, one that was known is described anew."""
    others = [other for other in threads if other.id != thread.id]
    if threads and threads[0].id == thread.id:
        return [thread, *others]
    return [*others[:1], *[*others[1:], thread][-_THREADS_REMEMBERED:]]


def thread_of_turn(turn_id: str | None, threads: list[Thread]) -> Thread | None:
    """The thread in which the turn was made; the one named last where the ids do not tell."""
    began = time_in(turn_id)
    if began is None or len(threads) < 2:
        return threads[-1] if threads else None
    existing = [(at, thread) for thread in threads if (at := thread.started_at) is not None and at <= began]
    return max(existing, key=lambda pair: pair[0])[1] if existing else threads[-1]


def time_in(identifier: str | None) -> datetime | None:
    """The moment in a UUID of version 7, to the millisecond; None for any other text."""
    try:
        value = uuid.UUID(identifier or "")
        return _EPOCH + timedelta(milliseconds=value.int >> 80) if value.version == 7 else None
    except (ValueError, OverflowError):
        return None


def _parent(meta: SessionMeta) -> str | None:
    """The thread that a subagent was started by; None for a thread that a person leads."""
    source = meta.source.get("subagent") if isinstance(meta.source, dict) else None
    if source is None:
        return None
    spawn: Any = source.get("thread_spawn") if isinstance(source, dict) else None
    named = spawn.get("parent_thread_id") if isinstance(spawn, dict) else None
    return named if isinstance(named, str) else meta.parent_thread_id
