"""The ledger of files: what was read of each, committed together with the rows that came from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pipelines.ingest.files import LogFile

State = Literal["new", "grown", "replaced", "truncated", "unchanged"]


@dataclass
class LedgerEntry:
    """One row of ops.ingest_files."""

    file_key: str
    path: str
    device_id: str
    source: str | None
    project_id: str | None
    size_bytes: int
    modified_at: datetime
    content_key: str
    committed_offset: int = 0
    committed_lines: int = 0
    is_read_to_end: bool = False
    resume_state: dict[str, Any] = field(default_factory=dict)
    unknown_lines: Counter[str] = field(default_factory=Counter)
    quarantined_count: int = 0
    tail_key: str | None = None


_COLUMNS = (
    "file_key, path, device_id, source, project_id, size_bytes, modified_at, content_key, "
    "committed_offset, committed_lines, is_read_to_end, resume_state, unknown_lines, quarantined_count, tail_key"
)


def unchanged(connection: psycopg.Connection[Any], found: Mapping[str, LogFile]) -> set[str]:
    """Keys of those files, by key, that were read to their end and have not changed since."""
    rows = connection.execute(
        "select file_key, size_bytes, modified_at from ops.ingest_files where is_read_to_end and file_key = any(%s)",
        [list(found)],
    )
    return {key for key, *state in rows if state == [found[key].size, found[key].modified_at]}


def load(connection: psycopg.Connection[Any], file_keys: Sequence[str]) -> dict[str, LedgerEntry]:
    """Entries of the files already known, by file key."""
    with connection.cursor(row_factory=class_row(LedgerEntry)) as cursor:
        cursor.execute(
            f"select {_COLUMNS} from ops.ingest_files where file_key = any(%s)",  # noqa: S608 (constant columns)
            [list(file_keys)],
        )
        return {entry.file_key: entry for entry in cursor}


def save(connection: psycopg.Connection[Any], entries: Sequence[LedgerEntry]) -> None:
    """Writes the entries, in key order so that concurrent writers cannot deadlock."""
    rows = [
        {**vars(entry), "resume_state": Jsonb(entry.resume_state), "unknown_lines": Jsonb(dict(entry.unknown_lines))}
        for entry in sorted(entries, key=lambda entry: entry.file_key)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            insert into ops.ingest_files (
                file_key, path, device_id, source, project_id, size_bytes, modified_at, content_key,
                committed_offset, committed_lines, is_read_to_end, resume_state, unknown_lines, quarantined_count,
                tail_key
            )
            values (
                %(file_key)s, %(path)s, %(device_id)s, %(source)s, %(project_id)s, %(size_bytes)s, %(modified_at)s,
                %(content_key)s, %(committed_offset)s, %(committed_lines)s, %(is_read_to_end)s, %(resume_state)s,
                %(unknown_lines)s, %(quarantined_count)s, %(tail_key)s
            )
            on conflict (file_key) do update set
                path = excluded.path,
                source = excluded.source,
                project_id = excluded.project_id,
                size_bytes = excluded.size_bytes,
                modified_at = excluded.modified_at,
                content_key = excluded.content_key,
                committed_offset = excluded.committed_offset,
                committed_lines = excluded.committed_lines,
                is_read_to_end = excluded.is_read_to_end,
                resume_state = excluded.resume_state,
                unknown_lines = excluded.unknown_lines,
                quarantined_count = excluded.quarantined_count,
                tail_key = excluded.tail_key,
                last_ingested_at = now()
            """,
            rows,
        )
