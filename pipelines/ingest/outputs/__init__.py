"""Outputs of optimizers and evaluations into the raw tables: whole documents, one transaction each.

A document and its entry in the ledger commit together; a document that has not changed is not read again, one that
has changed is merged anew. What is wrong with a record puts it into quarantine, what is wrong with the whole document
is reported and tried again at the next run.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from pipelines.ingest import files, ledger, projects
from pipelines.ingest.files import LogFile
from pipelines.ingest.ledger import LedgerEntry
from pipelines.ingest.merge import keep_bad_lines, make_partitions
from pipelines.ingest.outputs import merge
from pipelines.ingest.outputs.staging import Staging, bad_line_row
from pipelines.ingest.redaction import Redactor
from pipelines.ingest.report import MAX_PROBLEMS, IngestReport, Problem, TableCounts
from pipelines.sources import optuna
from pipelines.sources.documents import FORMATS, Document
from pipelines.sources.outputs import Record, Unreadable
from pipelines.sources.records import BadLine

_PARTITIONED = ("outcomes", "tool_usage", "failure_patterns", "audit_log")
"""Tables that a merge writes to, the trail of configuration versions included."""

_TOLD_IN_PARTS = frozenset({"evaluation_jsonl", "runs_json"})
"""Formats that tell one thing in several files: these come first, in the order of their names."""

Read = Callable[[], Iterator[Record]]

Advance = Callable[[int, int], None]
"""Called with files and bytes done since the last call."""


class _NamesUnknown(Exception):
    """A document refers to what nobody has told yet; nothing of it is stored."""


class Loader:
    """Loads documents over one connection."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        redactor: Redactor,
        key: bytes,
        *,
        device_id: str,
        project: str | None,
        project_prefixes: dict[str, str],
    ) -> None:
        self._connection = connection
        self._redactor = redactor
        self._key = key
        self._device_id = device_id
        self._project = project
        self._project_prefixes = project_prefixes
        self._now = datetime.now(UTC)

    def load(self, found: Sequence[tuple[LogFile, str]], advance: Advance) -> IngestReport:
        """Loads the documents that the files, each with the name of its format, belong to."""
        report = IngestReport()
        documents: list[tuple[str, LogFile, list[LogFile]]] = []
        for (source, root), members in _documents(found).items():
            try:
                documents.append((source, _whole(root, members), members))
            except files.Unreadable:
                path = self._redactor.path(str(root))
                told = f"{path} was not read: it is gone, or its folder cannot be listed; ingest it again."
                report.problems.append(Problem(path, "unreadable", told))
                report.files_by_state["failed"] += len(members)
                advance(len(members), sum(member.size for member in members))
        documents.sort(key=lambda document: _turn(*document[:2]))
        may_wait = len(documents) > 1
        while documents:
            waiting: list[tuple[str, LogFile, list[LogFile]]] = []
            for document in documents:
                try:
                    self._load(*document, report, may_wait=may_wait)
                except _NamesUnknown:
                    waiting.append(document)
                else:
                    advance(len(document[2]), sum(member.size for member in document[2]))
            # Waiting once more helps only where something else has come meanwhile.
            may_wait = len(waiting) < len(documents)
            documents = waiting
        return report

    def _load(
        self,
        source: str,
        file: LogFile,
        members: Sequence[LogFile],
        report: IngestReport,
        *,
        may_wait: bool,
    ) -> None:
        """Loads the document. Raises _NamesUnknown where it may wait for the others."""
        project_id = self._project or projects.project_of(None, file.path, self._project_prefixes, self._redactor)
        entry = self._entry(source, file, project_id)
        old = ledger.load(self._connection, [entry.file_key]).get(entry.file_key)
        is_unchanged = bool(ledger.unchanged(self._connection, {entry.file_key: file}))
        self._connection.commit()
        # A folder's size and time are those of all its files; a file says nothing of what lies beside it.
        is_alone = file.path.is_dir() or all(member.path == file.path for member in members)
        if is_unchanged and is_alone:
            report.files_by_state["unchanged"] += len(members)
            return
        # A folder's files are in the ledger too, so that the next run need not look into them.
        parts = [self._entry(source, member, project_id) for member in members if member.path != file.path]
        read = partial(FORMATS[source].read, Document(file.path, file.modified_at))
        is_loaded = self._try(read, entry, parts, report, may_wait=may_wait)
        report.bytes_read += file.size if is_loaded else 0
        state = "failed" if not is_loaded else "new" if old is None else "replaced"
        report.files_by_state[state] += len(members)

    def load_storage(self, url: str) -> IngestReport:
        """Loads the studies of the Optuna storage at ``url``; each time, for a server does not say what has changed."""
        report = IngestReport()
        address = urlsplit(url)
        place = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"
        entry = LedgerEntry(
            file_key=files.keyed_hash(self._key, place, self._project or ""),
            path=self._redactor.path(place),
            device_id=self._device_id,
            source="optuna",
            project_id=self._project or projects.project_of(address.path, Path(), {}, self._redactor),
            size_bytes=0,
            modified_at=self._now,
            content_key=files.content_key(self._key, place.encode()),
            is_read_to_end=True,
        )
        is_loaded = self._try(partial(optuna.read_storage, url), entry, [], report)
        report.files_by_state["new" if is_loaded else "failed"] += 1
        return report

    def _try(
        self,
        read: Read,
        entry: LedgerEntry,
        parts: Sequence[LedgerEntry],
        report: IngestReport,
        *,
        may_wait: bool = False,
    ) -> bool:
        """Whether the document could be loaded; why not goes into the report."""
        try:
            self._store(read, entry, parts, report, may_wait=may_wait)
        except (Unreadable, OSError) as error:
            self._connection.rollback()
            told = self._redactor.text(str(error)).encode("utf-8", "replace").decode()
            report.problems.append(Problem(entry.path, "unreadable", f"{entry.path} was not read: {told}"))
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
            self._connection.rollback()
            told = self._redactor.text(str(error).splitlines()[0])
            report.problems.append(Problem(entry.path, "refused", f"{entry.path} could not be stored: {told}"))
        else:
            return True
        return False

    def _entry(self, source: str, file: LogFile, project_id: str) -> LedgerEntry:
        return LedgerEntry(
            file_key=files.keyed_hash(self._key, self._device_id, str(file.path), self._project or ""),
            path=self._redactor.path(str(file.path)),
            device_id=self._device_id,
            source=source,
            project_id=project_id,
            size_bytes=file.size,
            modified_at=file.modified_at,
            content_key=files.content_key(self._key, str(file.size).encode()),
            is_read_to_end=True,
        )

    def _store(
        self,
        read: Read,
        entry: LedgerEntry,
        parts: Sequence[LedgerEntry],
        report: IngestReport,
        *,
        may_wait: bool,
    ) -> None:
        assert entry.project_id is not None  # noqa: S101 (a document always has one)
        assert entry.source is not None  # noqa: S101 (and is of a known format)
        staging = Staging(
            self._redactor,
            entry.source,
            entry.project_id,
            self._now,
            entry.modified_at,
            may_name_projects=self._project is None,
        )
        merge.stage(self._connection, staging.rows(read()))
        self._connection.commit()
        projects.register(self._connection, staging.projects)
        if staging.first_at is not None and staging.last_at is not None:
            make_partitions(self._connection, _PARTITIONED, staging.first_at.date(), staging.last_at.date())
        with self._connection.transaction():
            misfits = merge.refused(self._connection, staging.projects)
            if may_wait and any(misfit.reason.startswith("unknown_") for misfit in misfits):
                raise _NamesUnknown
            counts = merge.merge(self._connection, entry.source, entry.file_key)
            bad = staging.bad + [
                BadLine(m.line, m.offset, 0, m.reason, m.detail, m.sample.encode("utf-8", "replace")) for m in misfits
            ]
            rows = [bad_line_row(line, self._redactor, self._key, entry) for line in bad]
            quarantined = keep_bad_lines(self._connection, rows)
            entry.quarantined_count = len(bad)
            ledger.save(self._connection, [entry, *parts])
        for table, table_counts in counts.items():
            report.records.setdefault(table, TableCounts()).add(table_counts)
        report.good_lines += staging.good - len(misfits)
        report.quarantined += len(quarantined)
        for row in rows:
            if row[0] in quarantined and len(report.problems) < MAX_PROBLEMS:
                report.problems.append(Problem(path=row[2], reason=row[8], detail=row[9], line=row[3] or None))


def _turn(source: str, file: LogFile) -> datetime:
    """When it is a document's turn: of two copies of a store the one written later has to say what is so now."""
    return datetime.min.replace(tzinfo=UTC) if source in _TOLD_IN_PARTS else file.modified_at


def _documents(found: Iterable[tuple[LogFile, str]]) -> dict[tuple[str, Path], list[LogFile]]:
    """The files by document: its format and the path that stands for all of it."""
    documents: dict[tuple[str, Path], list[LogFile]] = {}
    for file, source in found:
        try:
            root = FORMATS[source].root(file.path)
        except OSError:
            root = file.path
        documents.setdefault((source, root), []).append(file)
    return documents


def _whole(root: Path, members: Sequence[LogFile]) -> LogFile:
    """The document as one file: all bytes of its root or below it, changed when any of them was.

    Raises files.Unreadable when nothing of it is there any more.
    """
    parts = files.find([root])
    if not parts:
        raise files.Unreadable(f"{root} is empty.")
    return LogFile(
        root,
        sum(part.size for part in parts),
        max(part.modified_at for part in parts),
        named=any(member.named for member in members),
    )
