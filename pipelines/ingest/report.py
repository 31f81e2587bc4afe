"""What an ingest did, in numbers that add up over files, workers and runs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipelines.ingest.files import LogFile

MAX_PROBLEMS = 1000
"""Problems told one by one; beyond these the counts and ops.quarantined_records say the rest."""

TABLES = ("command_executions", "model_requests", "tool_calls")


class Progress(NamedTuple):
    """How far an ingest has come; bytes are those on disk."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    seconds: float


@dataclass(frozen=True)
class Problem:
    """One thing that could not be ingested, in words for the person who asked."""

    path: str
    reason: str
    detail: str
    line: int | None = None


@dataclass
class TableCounts:
    """Rows of one raw table by what the ingest did to them."""

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0

    def add(self, other: "TableCounts") -> None:
        """Adds the counts of another batch."""
        self.inserted += other.inserted
        self.updated += other.updated
        self.unchanged += other.unchanged


@dataclass
class IngestReport:
    """Totals of one ingest; parts made by workers are added up."""

    files_by_state: Counter[str] = field(default_factory=Counter)
    """new, grown, replaced, truncated, unchanged, unrecognised, empty, failed."""
    records: dict[str, TableCounts] = field(default_factory=lambda: {table: TableCounts() for table in TABLES})
    quarantined: int = 0
    """Lines newly put into quarantine."""
    good_lines: int = 0
    unknown_lines: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    documents: list[tuple[LogFile, str]] = field(default_factory=list)
    """Files that belong to documents, with the name of their format: left to whoever loads those."""

    @property
    def files(self) -> int:
        """Files found, in whatever state."""
        return sum(self.files_by_state.values())

    @property
    def has_problems(self) -> bool:
        """Whether anything was quarantined or could not be read."""
        return bool(self.problems) or self.quarantined > 0

    def add(self, other: "IngestReport") -> None:
        """Adds the totals of ``other``; seconds are the caller's own."""
        self.files_by_state += other.files_by_state
        for table, counts in other.records.items():
            self.records.setdefault(table, TableCounts()).add(counts)
        self.quarantined += other.quarantined
        self.good_lines += other.good_lines
        self.unknown_lines += other.unknown_lines
        self.bytes_read += other.bytes_read
        self.documents += other.documents
        self.problems += other.problems[: MAX_PROBLEMS - len(self.problems)]

    def to_json(self) -> dict[str, Any]:
        """The object that ``tracemill ingest --json`` prints."""
        return {
            "files": self.files,
            "files_by_state": dict(self.files_by_state),
            "records": {table: vars(counts) for table, counts in self.records.items()},
            "quarantined": self.quarantined,
            "unknown_lines": dict(self.unknown_lines),
            "problems": [vars(problem) for problem in self.problems],
            "bytes": self.bytes_read,
            "seconds": round(self.seconds, 3),
        }
