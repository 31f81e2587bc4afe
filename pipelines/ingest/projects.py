"""Which project a log belongs to: the one named, else by path prefix, else by its working directory's name."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import msgspec
import psycopg

from pipelines.ingest.files import FEW_LINES_BYTES, HEAD_BYTES, Unreadable, read_head
from pipelines.ingest.redaction import Redactor
from pipelines.sources.outputs import PROJECT_ID

_SUBAGENTS = "subagents"
_COMPRESSED = (".gz", ".zst")
_LONG_LINES_BYTES = 8 << 20
"""A prompt with pasted images is a line of this size."""
_SLUG = re.compile(PROJECT_ID)


class BadProject(ValueError):
    """A project id that cannot be one; the message says what one looks like."""


def checked(project_id: str) -> str:
    """The id as it is. Raises BadProject."""
    if not _SLUG.fullmatch(project_id):
        raise BadProject(
            f"{project_id!r} is no project id: use lower-case letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit, at most 100."
        )
    return project_id


def project_of(cwd: str | None, path: Path, prefixes: Mapping[str, str], redactor: Redactor) -> str:
    """Project of the log at ``path`` whose session was started in ``cwd``."""
    directory = cwd or str(path.parent)
    fitting = [prefix for prefix in prefixes if PurePath(directory).is_relative_to(prefix)]
    if fitting:
        return checked(prefixes[max(fitting, key=len)])
    name = PurePath(directory.replace("\\", "/")).name
    slug = re.sub(r"[^a-z0-9._-]+", "-", redactor.text(name).lower()).strip("-._")[:100]
    return slug or "unnamed"


class _Payload(msgspec.Struct, frozen=True):
    cwd: str | None = None


class _Line(msgspec.Struct):
    cwd: str | None = None
    payload: _Payload = _Payload()
    """Of formats that put a frame around each record."""


def start_directory(head: bytes) -> str | None:
    """Working directory that the first line to name one names."""
    decoder = msgspec.json.Decoder(_Line)
    for line in io.BytesIO(head):
        try:
            found = decoder.decode(line)
            if cwd := found.cwd or found.payload.cwd:
                return cwd
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
    return None


def is_before_parent(path: Path) -> bool:
    """Whether the log is a subagent's and its session's own log is not there yet."""
    return path.parent.name == _SUBAGENTS and next(parent_logs(path), None) is None


def parent_logs(path: Path) -> Iterator[Path]:
    """The session's own log, for a log of one of its subagents: …/SESSION/subagents/agent-ID.jsonl.

    Either may have been compressed since, and the log that was compressed may lie beside what became of it.
    """
    if path.parent.name == _SUBAGENTS:
        suffixes = path.suffixes[-2:] if path.suffix in _COMPRESSED else path.suffixes[-1:]
        session = path.parent.parent
        for end in dict.fromkeys(("".join(suffixes), ".jsonl", *(f".jsonl{end}" for end in _COMPRESSED))):
            parent = session.with_name(session.name + end)
            if parent.is_file():
                yield parent


def directory_of_session(path: Path, head: bytes) -> str | None:
    """Working directory in which the session of the log at ``path`` was started; subagents belong to their parent's."""
    for parent in parent_logs(path):
        # The parent is a file of its own: that it cannot be read is told where it is ingested itself.
        with suppress(Unreadable):
            for size in (FEW_LINES_BYTES, HEAD_BYTES, _LONG_LINES_BYTES):
                if directory := start_directory(read_head(parent, size)):
                    return directory
    return start_directory(head)


def register(connection: psycopg.Connection[Any], project_ids: set[str]) -> None:
    """Makes the projects known, in a transaction of its own."""
    connection.cursor().executemany(
        "insert into app.project_config (project_id, display_name) values (%s, %s) on conflict do nothing",
        [(project_id, project_id) for project_id in sorted(project_ids)],
    )
    connection.commit()
