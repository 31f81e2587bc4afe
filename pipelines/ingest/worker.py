"""Reads files and merges their records, batch by batch; each batch commits with the ledger of its files.

A batch holds records of one format only, so that a headless run always finds the transcript of an earlier
batch, or the other way round. When a batch cannot be stored, its files are tried one by one, and the one at
fault is reported; everything else is stored.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import zstandard

from pipelines.ingest import files, ledger, merge, prices, projects, rows
from pipelines.ingest.files import LogFile
from pipelines.ingest.ledger import LedgerEntry
from pipelines.ingest.redaction import Redactor, engine
from pipelines.ingest.report import MAX_PROBLEMS, IngestReport, Problem, TableCounts
from pipelines.sources import READERS, detect, documents
from pipelines.sources.records import Chunk

BATCH_ROWS = 20_000
BATCH_BYTES = 128 << 20

_TOLD_BY_ANY_LINE = frozenset({"claude_code", "codex"})
"""Formats that a few lines tell as surely as many."""

Advance = Callable[[int, int], None]
"""Called with files and bytes done since the last call."""


@dataclass(frozen=True)
class Job:
    """What a worker needs beyond its files."""

    dsn: str
    key: bytes
    device_id: str
    project: str | None
    source: str
    project_prefixes: dict[str, str]


@dataclass
class _Reading:
    """A file on its way into the warehouse."""

    file: LogFile
    entry: LedgerEntry
    """As committed last."""
    origin: rows.Origin
    read_to: int
    directory: str | None = None
    """Where the session was started, as far as the beginnings of its logs say; of use until the project is settled."""
    is_finished: bool = False
    """The reader has come to the end of the file; a checkpoint before that is not the last."""
    is_refused: bool = False
    """A part of the file could not be stored: nothing after it may move the checkpoint past it."""


class _Part(NamedTuple):
    """What was read of a file between two checkpoints."""

    reading: _Reading
    chunk: Chunk
    tail_key: str | None
    """Of what stands before the later one."""


@dataclass
class _Batch:
    source: str
    parts: list[_Part] = field(default_factory=list)
    row_count: int = 0
    byte_count: int = 0

    def add(self, part: _Part) -> None:
        reading, chunk = part.reading, part.chunk
        self.parts.append(part)
        self.row_count += len(chunk.executions) + len(chunk.requests) + len(chunk.tool_calls) + len(chunk.bad)
        self.byte_count += chunk.offset - reading.read_to
        reading.read_to = chunk.offset

    @property
    def is_full(self) -> bool:
        return self.row_count >= BATCH_ROWS or self.byte_count >= BATCH_BYTES


def load_what_workers_share() -> None:
    """Loads the rules of redaction and, meanwhile, the price lists; both otherwise wait for their first use."""
    with ThreadPoolExecutor(1) as beside:
        rules = beside.submit(engine.load)
        prices.load()
    rules.result()


def _head_of(path: Path) -> bytes:
    """The file's beginning; no more of it than what tells its format and its folder. Raises files.Unreadable."""
    head = files.read_head(path, files.FEW_LINES_BYTES)
    if detect(head) in _TOLD_BY_ANY_LINE and projects.start_directory(head) is not None:
        return head
    return files.read_head(path)


class Worker:
    """One connection, one batch at a time."""

    def __init__(self, job: Job, connection: psycopg.Connection[Any]) -> None:
        self._job = job
        self._connection = connection
        self._redactor = Redactor(job.key)
        self._now = datetime.now(UTC)
        self._folders: dict[Path, str] = {}
        self._priced: set[str] = set()
        self._registered: set[str] = set()
        merge.prepare(connection, job.device_id)

    def ingest(self, batch_files: Sequence[LogFile], known: dict[str, LedgerEntry], advance: Advance) -> IngestReport:
        """Reads the files from where the ledger stands and merges what is new in them."""
        report = IngestReport()
        batch: _Batch | None = None
        for file in batch_files:
            reading = self._begin(file, known, report)
            told = 0
            if reading is not None:
                for part in self._read(reading, report):
                    if batch is not None and (batch.is_full or batch.source != reading.origin.source):
                        self._store(batch, report)
                        batch = None
                    if reading.is_refused:
                        break
                    self._settle_project(reading, part.chunk)
                    batch = batch or _Batch(reading.origin.source)
                    batch.add(part)
                    done = min(part.chunk.offset, file.size)
                    advance(0, max(done - told, 0))
                    told = max(done, told)
            advance(1, file.size - told)
        if batch is not None:
            self._store(batch, report)
        return report

    def _begin(self, file: LogFile, known: dict[str, LedgerEntry], report: IngestReport) -> _Reading | None:
        path = self._shown(file.path)
        try:
            head = _head_of(file.path)
            source = self._job.source if self._job.source != "auto" else detect(head)
            if source is None:
                source = documents.identify(file.path, head)
        except (files.Unreadable, OSError) as error:
            self._tell_unreadable(path, error, report)
            return None
        if source is None or source in documents.FORMATS:
            if source is not None:
                report.documents.append((file, source))
                return None
            empty = not head.strip()
            report.files_by_state["empty" if empty else "unrecognised"] += 1
            if file.named:
                what = "is empty" if empty else "is not a log that tracemill knows"
                report.problems.append(
                    Problem(
                        path,
                        "not_a_log",
                        f"{path} {what}; it reads {', '.join(sorted([*READERS, *documents.FORMATS]))}.",
                    )
                )
            return None
        file_key = files.keyed_hash(self._job.key, self._job.device_id, str(file.path), self._job.project or "")
        entry = LedgerEntry(
            file_key=file_key,
            path=path,
            device_id=self._job.device_id,
            source=source,
            project_id=self._job.project,
            size_bytes=file.size,
            modified_at=file.modified_at,
            content_key=files.content_key(self._job.key, head),
        )
        try:
            state = self._state(file, head, old := known.get(file_key))
        except files.Unreadable as error:
            self._tell_unreadable(path, error, report)
            return None
        if old is not None and state == "grown":
            entry.committed_offset = old.committed_offset
            entry.committed_lines = old.committed_lines
            entry.resume_state = old.resume_state
            entry.unknown_lines = Counter(old.unknown_lines)
            entry.quarantined_count = old.quarantined_count
            entry.tail_key = old.tail_key
        if old is not None and files.has_content_key(self._job.key, head, old.content_key):
            # Rows that are stored keep their project, also when the log is read from its start again.
            entry.project_id = old.project_id
        report.files_by_state[state] += 1
        directory = projects.directory_of_session(file.path, head) if entry.project_id is None else None
        origin = rows.Origin(entry.project_id, entry.device_id, source, file_key, path)
        return _Reading(file, entry, origin, read_to=entry.committed_offset, directory=directory)

    def _state(self, file: LogFile, head: bytes, old: LedgerEntry | None) -> ledger.State:
        """What has become of the file since it was ``old``. Raises files.Unreadable."""
        if old is None:
            return "new"
        if file.size < old.size_bytes:
            return "truncated"
        is_old = files.has_content_key(self._job.key, head, old.content_key) and files.has_tail_key(
            self._job.key, file.path, old.committed_offset, old.tail_key
        )
        return "grown" if is_old else "replaced"

    def _tell_unreadable(self, path: str, error: OSError | files.Unreadable, report: IngestReport) -> None:
        why = error.strerror if isinstance(error, OSError) else error
        report.files_by_state["failed"] += 1
        report.problems.append(Problem(path, "unreadable", f"{path} was not read: {why}"))

    def _settle_project(self, reading: _Reading, chunk: Chunk) -> None:
        """Gives the file its project for good: once its directory is known, at the latest with its first rows.

        A session just begun, and a first line longer than what is read of it beforehand, say nothing of the directory;
        a subagent's own may differ from that of a session whose log is yet to come.
        """
        if reading.origin.project_id is not None:
            return
        directory = reading.directory or chunk.cwd
        is_known = directory is not None and not projects.is_before_parent(reading.file.path)
        if is_known or chunk.executions or chunk.requests or chunk.tool_calls:
            project_id = projects.project_of(directory, reading.file.path, self._job.project_prefixes, self._redactor)
            reading.entry.project_id = project_id
            reading.origin = replace(reading.origin, project_id=project_id)

    def _shown(self, path: Path) -> str:
        """The path as it may be stored and shown; folders hold many files and are redacted once."""
        folder = self._folders.get(path.parent)
        if folder is None:
            folder = self._folders[path.parent] = self._redactor.path(str(path.parent))
        return f"{folder}/{self._redactor.path(path.name)}"

    def _read(self, reading: _Reading, report: IngestReport) -> Iterator[_Part]:
        """Parts of a file; what goes wrong in the middle is reported, and the parts before it stand."""
        entry = reading.entry
        start = offset = entry.committed_offset
        try:
            with files.open_at(reading.file.path, offset) as stream:
                for chunk in READERS[reading.origin.source](
                    stream,
                    offset=offset,
                    lines=entry.committed_lines,
                    state=entry.resume_state,
                    fallback_time=reading.file.modified_at,
                ):
                    offset = chunk.offset
                    report.good_lines += chunk.good_lines
                    yield _Part(reading, chunk, files.tail_key(self._job.key, stream, offset))
            reading.is_finished = True
        except (OSError, EOFError, zlib.error, zstandard.ZstdError, files.Unreadable) as error:
            report.problems.append(
                Problem(
                    entry.path, "cut", f"{entry.path} could be read only up to byte {offset}: {error}; is it complete?"
                )
            )
        report.bytes_read += max(reading.file.size - start, 0)

    def _store(self, batch: _Batch, report: IngestReport) -> None:
        try:
            self._commit(batch, report)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            self._connection.rollback()
            readings = {id(part.reading): part.reading for part in batch.parts}
            if len(readings) == 1:
                (reading,) = readings.values()
                reading.is_refused = True
                report.files_by_state["failed"] += 1
                report.problems.append(
                    Problem(
                        reading.entry.path,
                        "refused",
                        f"{reading.entry.path} could not be stored: {self._redactor.text(str(error).splitlines()[0])}",
                    )
                )
                return
            for key in readings:
                parts = [part for part in batch.parts if id(part.reading) == key]
                self._store(_Batch(batch.source, parts), report)

    def _commit(self, batch: _Batch, report: IngestReport) -> None:
        builder = rows.RowBuilder(self._redactor, self._job.key, self._now)
        entries: dict[str, LedgerEntry] = {}
        for reading, chunk, tail_key in batch.parts:
            builder.add(reading.origin, chunk.executions, chunk.requests, chunk.tool_calls, chunk.bad)
            entry = entries.get(reading.entry.file_key, reading.entry)
            entries[entry.file_key] = replace(
                entry,
                committed_offset=chunk.offset,
                committed_lines=chunk.lines,
                is_read_to_end=reading.is_finished,
                resume_state=chunk.state,
                unknown_lines=entry.unknown_lines + self._redacted(chunk.unknown),
                tail_key=tail_key,
            )
        for entry in entries.values():
            entry.resume_state = self._redactor.tree(entry.resume_state)
        staged = builder.rows()
        self._settle(staged, {part.reading.origin.project_id for part in batch.parts})
        with self._connection.transaction():
            counts, quarantined = merge.merge(self._connection, staged)
            for row in staged.bad_lines:
                if row[0] in quarantined:
                    entries[row[1]].quarantined_count += 1
            ledger.save(self._connection, list(entries.values()))
        for reading, chunk, _ in batch.parts:
            reading.entry = entries[reading.entry.file_key]
            report.unknown_lines += self._redacted(chunk.unknown + chunk.open_unknown)
        for table, table_counts in counts.items():
            report.records.setdefault(table, TableCounts()).add(table_counts)
        report.quarantined += len(quarantined)
        for row in staged.bad_lines:
            if row[0] in quarantined and len(report.problems) < MAX_PROBLEMS:
                quarantined.discard(row[0])
                report.problems.append(Problem(path=row[2], reason=row[8], detail=row[9], line=row[3]))

    def _redacted(self, kinds: Counter[str]) -> Counter[str]:
        """Lines by kind; a kind is a word of the log and may be anything."""
        counts: Counter[str] = Counter()
        for kind, count in kinds.items():
            counts[self._redactor.text(kind)] += count
        return counts

    def _settle(self, staged: rows.StagedRows, project_ids: set[str | None]) -> None:
        """What the batch needs to exist beforehand: projects, partitions, prices."""
        if new_projects := {known for known in project_ids if known is not None} - self._registered:
            projects.register(self._connection, new_projects)
            self._registered |= new_projects
        merge.ensure_partitions(self._connection, staged)
        if new_models := staged.models - self._priced:
            merge.store_prices(self._connection, prices.price_rows(new_models))
            self._priced |= new_models
