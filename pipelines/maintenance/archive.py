"""Months of a table as verified files: ``archive/<table>/project_id=…/month=YYYY-MM/part-N.parquet``.

A month is archived in one transaction on one snapshot: rows that no file holds yet are written, the new file is read
back into the database, and only when the month's files hold exactly the month's rows, compared row by row, is the
file recorded in ``ops.archive_files``. A process that dies before that leaves a file that nobody knows, which the next
one writes over. Each row is in one file: late rows go to a new one, and when rows changed or vanished after they had
been put back, one new file takes over from all others of the month.

Beside each file lies a manifest (``_part-N.json``) with its rows, sums, SHA-256 and schema, for readers without the
database. Hive readers pass over names that begin with an underscore.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from pipelines.maintenance import parquet
from pipelines.maintenance.archive_tables import CORRECTIONS, Table, month_start, next_month

_SUMMED = {"smallint", "integer", "bigint", "numeric"}


class ArchiveError(Exception):
    """A month cannot be archived or put back; the message is a sentence for the user."""


@dataclass(frozen=True)
class TableMonth:
    """A month of one project in one table."""

    table: Table
    project_id: str
    month: date
    """Its first day, UTC."""

    def __str__(self) -> str:
        return f"{self.table.relation} of {self.project_id} in {self.month:%Y-%m}"

    def folder(self) -> Path:
        """Where its files lie, below the archive folder."""
        project = quote(self.project_id, safe="")
        return Path(self.table.name) / f"project_id={project}" / f"month={self.month:%Y-%m}"

    def live(self) -> sql.Composed:
        """Query of the rows that are in the table now, without project_id."""
        return sql.SQL("select {} from {} as t where t.project_id = {} and t.{time} >= {} and t.{time} < {}").format(
            self.table.columns("t"),
            self.table.identifier,
            self.project_id,
            month_start(self.month),
            month_start(next_month(self.month)),
            time=sql.Identifier(self.table.time_column),
        )


@dataclass(frozen=True)
class _Fingerprint:
    row_count: int
    checksum: int
    widest_bytes: int


@dataclass(frozen=True)
class _Known:
    """What the records say of a month."""

    is_proven: bool
    is_away: bool
    parts: tuple[tuple[Path, str, str], ...]
    """Path below the archive folder, SHA-256 and schema of the files that count."""
    last_part: int


def archive_month(connection: psycopg.Connection[Any], folder: Path, month: TableMonth) -> int:
    """Bring the archive to what the table holds of ``month`` and record the proof; returns how many rows were written.

    The connection acts as tracemill_maintenance in autocommit mode and holds the maintenance lock. Raises ArchiveError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        fingerprint = _fingerprint(connection, month)
        known = _known(connection, month, fingerprint)
        if fingerprint.row_count == 0 and (known.is_away or known.last_part == 0):
            return 0
        if known.is_proven:
            for path, sha256, _ in known.parts:
                _require_intact(folder / path, sha256)
            return 0
        load(connection, folder, month, "archived")
        wanted = _wanted(month, known)
        is_changed = _count(connection, _minus(_hashes(month, _all("archived")), _hashes(month, wanted))) > 0
        missing = wanted if is_changed else _not_archived(month, wanted)
        row_count = _count(connection, missing)
        if is_changed:
            connection.execute("truncate archived")
        path = month.folder() / f"part-{known.last_part + 1}.parquet"
        if row_count:
            written = _write(connection, folder / path, month, missing, fingerprint.widest_bytes)
            _copy_in(connection, folder / path, month, "archived")
        _require_equal(connection, month, wanted, folder / path)
        if is_changed:
            connection.execute(
                "update ops.archive_files set superseded_at = now() "
                "where project_id = %s and relation = %s and month = %s and superseded_at is null",
                [month.project_id, month.table.relation, month.month],
            )
        if row_count:
            _record_file(connection, folder, month, known.last_part + 1, path, written)
        connection.execute(
            """
            insert into ops.archived_months (project_id, relation, month, row_count, checksum, verified_at)
            values (%s, %s, %s, %s, %s, clock_timestamp())
            on conflict (project_id, relation, month) do update
            set row_count = excluded.row_count, checksum = excluded.checksum, verified_at = excluded.verified_at
            """,
            [month.project_id, month.table.relation, month.month, fingerprint.row_count, fingerprint.checksum],
        )
    return row_count


def load(connection: psycopg.Connection[Any], folder: Path, month: TableMonth, into: str) -> int:
    """Make the temporary table ``into`` with all archived rows of ``month``, without project_id; returns how many.

    Every file is held against its recorded SHA-256 first, and its rows are brought to what later migrations made of
    those in the table. Raises ArchiveError when one is missing or damaged.
    """
    connection.execute(
        sql.SQL("create temporary table {} on commit drop as select {} from {} as t limit 0").format(
            sql.Identifier(into), month.table.columns("t"), month.table.identifier
        )
    )
    # Oldest first: what is corrected in the rows of one file does not reach those of a newer schema.
    for path, sha256, schema_version in _parts(connection, month):
        _require_intact(folder / path, sha256)
        _copy_in(connection, folder / path, month, into)
        for correction in CORRECTIONS:
            if correction.relation == month.table.relation and schema_version < correction.migration:
                connection.execute(sql.SQL("update {} {}").format(sql.Identifier(into), sql.SQL(correction.change)))
    connection.execute(sql.SQL("analyze {}").format(sql.Identifier(into)))
    return _count(connection, _all(into))


def remove_superseded(connection: psycopg.Connection[Any], folder: Path) -> int:
    """Delete the files that a newer one has taken over from; returns how many were still there."""
    removed = 0
    for (path,) in connection.execute("select path from ops.archive_files where superseded_at is not null"):
        file = folder / path
        if file.exists():
            manifest_of(file).unlink(missing_ok=True)
            file.unlink()
            removed += 1
    return removed


def manifest_of(path: Path) -> Path:
    """The manifest beside a file of the archive."""
    return path.with_name(f"_{path.stem}.json")


def _fingerprint(connection: psycopg.Connection[Any], month: TableMonth) -> _Fingerprint:
    row = connection.execute(
        "select row_count, checksum, widest_bytes from ops.month_fingerprints(%s, %s) where project_id = %s",
        [month.table.relation, month.month, month.project_id],
    ).fetchone()
    return _Fingerprint(*row) if row else _Fingerprint(0, 0, 0)


def _known(connection: psycopg.Connection[Any], month: TableMonth, fingerprint: _Fingerprint) -> _Known:
    key = [month.project_id, month.table.relation, month.month]
    row = connection.execute(
        "select row_count, checksum, released_at is not null from ops.archived_months "
        "where project_id = %s and relation = %s and month = %s",
        key,
    ).fetchone()
    last = connection.execute(
        "select coalesce(max(part), 0) from ops.archive_files where project_id = %s and relation = %s and month = %s",
        key,
    ).fetchone()
    return _Known(
        is_proven=row is not None and not row[2] and (row[0], row[1]) == (fingerprint.row_count, fingerprint.checksum),
        is_away=row is not None and row[2],
        parts=_parts(connection, month),
        last_part=last[0] if last else 0,
    )


def _parts(connection: psycopg.Connection[Any], month: TableMonth) -> tuple[tuple[Path, str, str], ...]:
    rows = connection.execute(
        "select path, sha256, schema_version from ops.archive_files "
        "where project_id = %s and relation = %s and month = %s and superseded_at is null order by part",
        [month.project_id, month.table.relation, month.month],
    ).fetchall()
    return tuple((Path(path), sha256, schema_version) for path, sha256, schema_version in rows)


def _wanted(month: TableMonth, known: _Known) -> sql.Composed:
    """What the archive must hold afterwards: the table's rows, and while others are away those as well."""
    if not known.is_away:
        return month.live()
    return sql.SQL(
        "{} union all select {} from archived as a where not exists (select from ({}) as t where {})"
    ).format(month.live(), month.table.columns("a"), month.live(), month.table.same_key("t", "a"))


def _not_archived(month: TableMonth, wanted: sql.Composable) -> sql.Composed:
    return sql.SQL("select {} from ({}) as t where not exists (select from archived as a where {})").format(
        month.table.columns("t"), wanted, month.table.same_key("a", "t")
    )


def _hashes(month: TableMonth, query: sql.Composable) -> sql.Composed:
    """Of each row of ``query`` a hash of its text: NULL and scale of a numeric count."""
    return sql.SQL("select md5(row({})::text)::uuid from ({}) as t").format(month.table.columns("t"), query)


def _minus(left: sql.Composable, right: sql.Composable) -> sql.Composed:
    return sql.SQL("({} except all {})").format(left, right)


def _all(table: str) -> sql.Composed:
    return sql.SQL("select * from {}").format(sql.Identifier(table))


def _count(connection: psycopg.Connection[Any], query: sql.Composable) -> int:
    row = connection.execute(sql.SQL("select count(*) from ({}) as counted").format(query)).fetchone()
    return int(row[0]) if row else 0


def _write(
    connection: psycopg.Connection[Any], path: Path, month: TableMonth, rows: sql.Composable, widest_bytes: int
) -> parquet.Written:
    ordered = sql.SQL("copy (select {} from ({}) as t order by t.{}) to stdout (format csv)").format(
        month.table.columns("t"), rows, sql.Identifier(month.table.time_column)
    )
    widest = connection.execute("select coalesce(max(octet_length(a::text)), 0) from archived as a").fetchone()
    try:
        with connection.cursor() as cursor, cursor.copy(ordered) as copy:
            return parquet.write(path, month.table.types, copy, max(widest_bytes, widest[0] if widest else 0))
    except parquet.UnfitError as error:
        raise ArchiveError(
            f"{month} cannot be archived, because {error.column} has a value that its files cannot hold, such as "
            "infinity: correct it, then run the job again."
        ) from error


def _copy_in(connection: psycopg.Connection[Any], path: Path, month: TableMonth, into: str) -> None:
    columns = parquet.columns(path)
    unknown = [name for name in columns if name not in month.table.types]
    if unknown:
        raise ArchiveError(
            f"{path} has the column {unknown[0]}, which {month.table.relation} has no longer: restore it with the "
            "version of tracemill that wrote it."
        )
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(
        sql.Identifier(into), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for chunk in parquet.read(path):
            copy.write(chunk)


def _require_intact(path: Path, sha256: str) -> None:
    try:
        found = parquet.digest(path)
    except FileNotFoundError:
        raise ArchiveError(f"{path} is missing from the archive: put it back from a backup, then try again.") from None
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({error.strerror}): mend that, then try again.") from error
    if found != sha256:
        raise ArchiveError(
            f"{path} is damaged (its SHA-256 is not the recorded one): put it back from a backup, then try again."
        )


def _require_equal(connection: psycopg.Connection[Any], month: TableMonth, wanted: sql.Composable, path: Path) -> None:
    wanted_hashes, archived_hashes = _hashes(month, wanted), _hashes(month, _all("archived"))
    different = sql.SQL("({}) union all ({})").format(
        _minus(wanted_hashes, archived_hashes), _minus(archived_hashes, wanted_hashes)
    )
    if count := _count(connection, different):
        path.unlink(missing_ok=True)
        raise ArchiveError(
            f"The archive of {month} differs from the table in {count} rows after it was read back: nothing was "
            "removed; check the disk, then run the job again."
        )


def _record_file(
    connection: psycopg.Connection[Any],
    folder: Path,
    month: TableMonth,
    part: int,
    path: Path,
    written: parquet.Written,
) -> None:
    sums = _sums(connection, folder / path, month)
    version = connection.execute("select max(name) from public.schema_migrations").fetchone()
    schema_version = version[0] if version else None
    manifest = {
        "table": month.table.relation,
        "project_id": month.project_id,
        "month": f"{month.month:%Y-%m}",
        "part": part,
        "rows": written.row_count,
        "bytes": written.size_bytes,
        "sha256": written.sha256,
        "sums": sums,
        "schema_version": schema_version,
        "columns": month.table.types,
        "key": list(month.table.key),
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    parquet.write_beside(manifest_of(folder / path), json.dumps(manifest, indent=2) + "\n")
    connection.execute(
        """
        insert into ops.archive_files
            (project_id, relation, month, part, path, row_count, size_bytes, sha256, sums, schema_version)
        values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            month.project_id, month.table.relation, month.month, part, str(path), written.row_count,
            written.size_bytes, written.sha256, json.dumps(sums), schema_version,
        ],
    )  # fmt: skip


def _sums(connection: psycopg.Connection[Any], path: Path, month: TableMonth) -> dict[str, str | None]:
    """Sums of the whole numbers and amounts in a file, as text: no digit is lost."""
    names = [name for name, kind in month.table.types.items() if kind in _SUMMED]
    connection.execute(sql.SQL("create temporary table written on commit drop as {} limit 0").format(_all("archived")))
    _copy_in(connection, path, month, "written")
    sums = sql.SQL(", ").join(sql.SQL("sum({})::text").format(sql.Identifier(name)) for name in names)
    row = connection.execute(sql.SQL("select {} from written").format(sums)).fetchone()
    return dict(zip(names, row or (), strict=True))
