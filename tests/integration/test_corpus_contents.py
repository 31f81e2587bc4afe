"""The table of the corpus is true: it names every file, and each gives the rows that it says, once."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pipelines import ingest
from pipelines.database import connect
from pipelines.ingest.report import IngestReport
from pipelines.settings import Settings
from pipelines.sources import DETECTION_BYTES, READERS, detect
from pipelines.sources.documents import identify
from tests import warehouse
from tests.corpus_contents import CONTENTS
from tests.corpus_contents.entries import Contents

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Loaded:
    """A warehouse that holds the whole corpus, and what each entry of the table brought."""

    dsn: str
    settings: Settings
    found: Mapping[str, Contents]

    def ingest(self, *paths: Path) -> IngestReport:
        return ingest.run(paths, dsn=self.dsn, settings=self.settings, jobs=1)


@pytest.fixture(scope="module")
def loaded(
    corpus: Path,
    migrated_database: Callable[[], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Loaded]:
    """Logs all at once, for their rows name their files; documents one by one."""
    pytest.importorskip("inspect_ai", reason="inspect-ai is not installed: pip install 'tracemill[inspect]'")
    with migrated_database() as dsn, connect(dsn, autocommit=True) as connection:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"), database_url=dsn, reader_database_url=None, watched_folders=(),
            redaction_key="key of the tests",
        )  # fmt: skip
        found: dict[str, Contents] = {}
        loaded = Loaded(dsn, settings, found)
        logs = [name for name, contents in CONTENTS.items() if contents.format in READERS]
        assert loaded.ingest(*(corpus / name for name in logs)).files_by_state == {"new": len(logs)}
        for name in logs:
            found[name] = of_log(connection, name)
        for name, contents in CONTENTS.items():
            if contents.format is not None and name not in found:
                before = warehouse.counts(connection)
                report = loaded.ingest(corpus / name)
                assert report.quarantined == 0, name
                after = warehouse.counts(connection)
                rows = {table: count - before[table] for table, count in after.items() if count != before[table]}
                sources = connection.execute(
                    "select distinct source from ops.ingest_files where path like %s", [f"%/corpus/{name.rstrip('/')}"]
                ).fetchall()
                assert sources in ([], [(contents.format,)]), name
                found[name] = Contents(
                    contents.format, rows, problems=tuple(problem.reason for problem in report.problems)
                )
        yield loaded


def of_log(connection: psycopg.Connection, name: str) -> Contents:
    """What rows name the file as the one they come from."""
    ((key, source, quarantined),) = connection.execute(
        "select file_key, source, quarantined_count from ops.ingest_files where path like %s", [f"%/corpus/{name}"]
    ).fetchall()
    query = " union all ".join(
        f"select '{table}', count(*) from raw.{table} where source_file_key = %(key)s"
        for table in ("command_executions", "model_requests", "tool_calls")
    )
    rows = {table: count for table, count in connection.execute(query, {"key": key}) if count}
    return Contents(source, rows, quarantined)


def entry_of(name: str) -> str:
    """The entry of the table that a file belongs to."""
    (entry,) = [entry for entry in CONTENTS if name == entry or (entry.endswith("/") and name.startswith(entry))]
    return entry


def files_of(corpus: Path) -> list[Path]:
    return sorted(path for path in corpus.rglob("*") if path.is_file())


def test_every_file_of_the_corpus_is_in_the_table_and_nothing_else(corpus: Path) -> None:
    files = [path.relative_to(corpus).as_posix() for path in files_of(corpus)]
    known = {name: [entry for entry in CONTENTS if f"{name}/".startswith(entry.rstrip("/") + "/")] for name in files}
    assert {name: entries for name, entries in known.items() if len(entries) != 1} == {}
    assert {entry for entries in known.values() for entry in entries} == CONTENTS.keys()


def test_every_file_is_recognised_as_the_table_says(corpus: Path) -> None:
    recognised: dict[str, set[str | None]] = {}
    for path in files_of(corpus):
        with path.open("rb") as stream:
            head = stream.read(DETECTION_BYTES)
        entry = entry_of(path.relative_to(corpus).as_posix())
        recognised.setdefault(entry, set()).add(detect(head) or identify(path, head))
    expected = {
        # What a tool lays beside its document is not always a part of it.
        entry: {contents.format} | ({None} & recognised[entry] if entry.endswith("/") else set())
        for entry, contents in CONTENTS.items()
    }
    assert recognised == expected


def test_every_file_gives_the_rows_that_the_table_says(loaded: Loaded) -> None:
    expected = {
        name: Contents(contents.format, contents.rows, contents.quarantined, contents.problems)
        for name, contents in CONTENTS.items()
        if contents.format is not None
    }
    assert loaded.found == expected


def test_the_table_accounts_for_every_row(loaded: Loaded) -> None:
    with connect(loaded.dsn) as connection:
        stored = {table: count for table, count in warehouse.counts(connection).items() if count}
        quarantined = connection.execute("select count(*) from ops.quarantined_records").fetchone()
    tables = sorted({table for contents in CONTENTS.values() for table in contents.rows})
    assert stored == {table: sum(contents.rows.get(table, 0) for contents in CONTENTS.values()) for table in tables}
    assert quarantined == (sum(contents.quarantined for contents in CONTENTS.values()),)


def test_reading_the_whole_corpus_again_changes_nothing(loaded: Loaded, corpus: Path) -> None:
    """Neither while the ledger knows the files nor when it has been lost and all is merged once more."""
    with connect(loaded.dsn, autocommit=True) as connection:
        before = warehouse.everything(connection)
        report = loaded.ingest(corpus)
        assert report.files_by_state.keys() <= {"unchanged", "unrecognised", "failed"}
        connection.execute("delete from ops.quarantined_records")
        connection.execute("delete from ops.ingest_files")
        report = loaded.ingest(corpus)
        assert report.files_by_state.keys() == {"new", "unrecognised", "failed"}
        assert {table: counts for table, counts in report.records.items() if counts.inserted or counts.updated} == {}
        assert warehouse.everything(connection) == before
