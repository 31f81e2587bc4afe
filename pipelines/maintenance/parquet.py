"""Rows of a table as a Parquet file and back, without loss.

The server writes and reads CSV, pyarrow turns it into Parquet and back, so no row passes through Python. What Arrow
holds exactly becomes a column of that type; everything else (numeric, jsonb, uuid, arrays, ranges …) stays the text
that PostgreSQL wrote, which it reads back as the same value: a numeric keeps its scale. The file says of each column
what it is in PostgreSQL.
"""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

POSTGRES_TYPE = b"postgres_type"

_EXACT = {
    "boolean": pa.bool_(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double precision": pa.float64(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
}
_BLOCK_BYTES = 16 << 20
_ROWS_READ_AT_ONCE = 5_000


class UnfitError(Exception):
    """A value has no place in its column of a file."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


@dataclass(frozen=True)
class Written:
    """A file as it lies on disk."""

    row_count: int
    size_bytes: int
    sha256: str


def write(
    path: Path, types: dict[str, str], csv: Iterable[bytes | bytearray | memoryview], widest_bytes: int
) -> Written:
    """Write the rows of ``csv`` (COPY … CSV) to ``path``: after a crash the file is whole or absent.

    ``types`` are the columns with their PostgreSQL types; ``widest_bytes`` is the width of the widest row as text.
    Only the owner can read the file. Raises UnfitError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for unfinished in path.parent.glob(".*.unfinished"):
        unfinished.unlink()
    unfinished = path.with_name(f".{path.name}.unfinished")
    rows = 0
    with _create(unfinished) as file:
        with pa.parquet.ParquetWriter(file, schema := _schema(types), compression="zstd") as writer:
            for batch in _batches(csv, schema, widest_bytes):
                writer.write_batch(batch)
                rows += batch.num_rows
        file.flush()
        os.fsync(file.fileno())
    written = Written(rows, unfinished.stat().st_size, digest(unfinished))
    unfinished.replace(path)
    _sync_folder(path.parent)
    return written


def write_beside(path: Path, text: str) -> None:
    """Write a small file so that after a crash it is whole or absent."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with _create(unfinished) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync_folder(path.parent)


def columns(path: Path) -> tuple[str, ...]:
    """Names of the file's columns."""
    return tuple(pa.parquet.read_schema(path).names)


def read(path: Path) -> Iterator[memoryview]:
    """The rows of a file as CSV that COPY reads: NULL is an empty field, everything else is quoted."""
    options = pa.csv.WriteOptions(include_header=False, quoting_style="all_valid")
    with pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS_READ_AT_ONCE):
            sink = pa.BufferOutputStream()
            pa.csv.write_csv(batch, sink, options)
            yield memoryview(sink.getvalue())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _schema(types: dict[str, str]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, _EXACT.get(kind, pa.string()), metadata={POSTGRES_TYPE: kind}) for name, kind in types.items()]
    )


def _batches(
    csv: Iterable[bytes | bytearray | memoryview], schema: pa.Schema, widest_bytes: int
) -> Iterator[pa.RecordBatch]:
    stream = io.BufferedReader(_Chunks(csv), buffer_size=1 << 20)
    if not stream.peek(1):
        return
    try:
        reader = pa.csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            # A row must fit into a block; as CSV it is at most twice as long, when every character is a quote.
            pa.csv.ReadOptions(
                column_names=schema.names, use_threads=False, block_size=max(_BLOCK_BYTES, 3 * widest_bytes)
            ),
            pa.csv.ParseOptions(newlines_in_values=True),
            pa.csv.ConvertOptions(
                column_types=schema,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        for batch in reader:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    except pa.ArrowInvalid as error:
        raise UnfitError(_column(error, schema)) from error


def _column(error: pa.ArrowInvalid, schema: pa.Schema) -> str:
    found = re.match(r"In CSV column #(\d+)", str(error))
    return schema.names[int(found[1])] if found else "a column"


class _Chunks(io.RawIOBase):
    """Pieces of bytes as one file."""

    def __init__(self, chunks: Iterable[bytes | bytearray | memoryview]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a writable buffer, as RawIOBase gives
        while not self._rest:
            try:
                self._rest = memoryview(next(self._chunks))
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _create(path: Path) -> BinaryIO:
    """A new file that only its owner can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
