"""Which files wait to be ingested: one ``stat`` each against the ledger, nothing is opened."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipelines.database import connect
from pipelines.ingest import files, ledger
from pipelines.ingest.files import LogFile
from pipelines.ingest.redaction import Redactor, load_key
from pipelines.settings import Settings


def pending(paths: Iterable[Path], *, dsn: str, settings: Settings) -> list[LogFile]:
    """Files under ``paths`` that an ingest would read.

    Raises files.Unreadable for a path that does not exist and, where no file waits, for one that cannot be looked at:
    an ingest of the others would tell. Raises psycopg.Error when the database fails.
    """
    left_out: list[files.LeftOut] = []
    found = files.find(paths, left_out)
    key = load_key(settings)
    by_key = {files.keyed_hash(key, settings.device_id, str(file.path), ""): file for file in found}
    with connect(dsn, role="tracemill_ingest") as connection:
        unchanged = ledger.unchanged(connection, by_key)
    waiting = [file for file_key, file in by_key.items() if file_key not in unchanged]
    if left_out and not waiting:
        raise files.Unreadable(f"{Redactor(key).path(str(left_out[0].path))} {left_out[0].reason}")
    return waiting


def fingerprint(waiting: Sequence[LogFile]) -> str:
    """The same for the same files in the same state, whatever order they come in."""
    digest = hashlib.sha256()
    for path, size, modified_at in sorted((str(file.path), file.size, file.modified_at) for file in waiting):
        digest.update(f"{path}\0{size}\0{modified_at.isoformat()}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]
