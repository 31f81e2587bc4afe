"""Archived rows put back into their tables: for a person who asks, and for an aggregation.

A day whose rows are away must not be built again: its marts would forget them. So before an aggregation the months
around its days come back (docs/adr/0008), and the next retention takes them away again. Months of a domain come back
whole and together; rows that are in the table already stay as they are, so it is safe to repeat.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from pipelines.maintenance.aggregation import is_near
from pipelines.maintenance.archive import ArchiveError, TableMonth, load
from pipelines.maintenance.archive_tables import Table, month_of, tables


@dataclass(frozen=True)
class ArchivedMonth:
    """A month of one project in one table, as the records have it."""

    project_id: str
    domain: str
    relation: str
    month: date
    file_count: int
    row_count: int
    """Rows in its files."""
    size_bytes: int
    state: str
    """archived: only in the files; restored: in the table too; verified: in the table still."""
    held_until: datetime | None


@dataclass(frozen=True)
class Restored:
    """What came back for one month of one domain."""

    project_id: str
    domain: str
    month: date
    row_count: int
    """Rows put back; those that were in the tables already are not counted."""

    def __str__(self) -> str:
        return f"put back {self.row_count:,} rows of {self.project_id} ({self.domain}, {self.month:%Y-%m})"


def listed(
    connection: psycopg.Connection[Any],
    *,
    project_id: str | None = None,
    domain: str | None = None,
    month: date | None = None,
) -> list[ArchivedMonth]:
    """The archived months, oldest first, of one project, domain or month where given."""
    with connection.cursor(row_factory=class_row(ArchivedMonth)) as cursor:
        return cursor.execute(
            """
            select
                m.project_id,
                r.domain,
                m.relation,
                m.month,
                count(f.part) as file_count,
                coalesce(sum(f.row_count), 0)::bigint as row_count,
                coalesce(sum(f.size_bytes), 0)::bigint as size_bytes,
                case
                    when m.released_at is not null then 'archived'
                    when m.restored_at is not null then 'restored'
                    else 'verified'
                end as state,
                m.held_until
            from ops.archived_months as m
            join ops.retention_rules as r on r.relation = m.relation
            left join ops.archive_files as f
                on f.project_id = m.project_id and f.relation = m.relation and f.month = m.month
                and f.superseded_at is null
            where m.project_id = coalesce(%(project)s, m.project_id)
                and r.domain = coalesce(%(domain)s, r.domain)
                and m.month = coalesce(%(month)s, m.month)
            group by m.project_id, m.relation, m.month, r.relation
            order by m.month, m.project_id, r.domain, r.position
            """,
            {"project": project_id, "domain": domain, "month": month and month_of(month)},
        ).fetchall()


def restore(
    connection: psycopg.Connection[Any], folder: Path, wanted: Sequence[ArchivedMonth], hold: timedelta
) -> list[Restored]:
    """Put the archived months among ``wanted`` back, and keep all of ``wanted`` from retention for ``hold``.

    Each month of a domain is one transaction. The connection acts as tracemill_maintenance in autocommit mode and
    holds the maintenance lock. Raises ArchiveError; what came back before stays.
    """
    return [_restore(connection, folder, *unit, hold) for unit in _units(wanted)]


def bring_back(
    connection: psycopg.Connection[Any], folder: Path, days: Sequence[date], hold: timedelta = timedelta(days=1)
) -> tuple[list[Restored], list[str]]:
    """Put back every archived month that has rows of ``days``, of any project: a day is built for all at once.

    Also returns why months could not come back, as sentences: one that cannot keeps no other away.
    """
    away = [month for month in listed(connection) if month.state == "archived" and month.domain != "audit"]
    needed = {month.month for month in away if any(is_near(day, {month.month}) for day in days)}
    restored, problems = [], []
    for unit in _units(month for month in away if month.month in needed):
        try:
            restored.append(_restore(connection, folder, *unit, hold))
        except ArchiveError as error:
            problems.append(str(error))
    return restored, problems


def _units(months: Iterable[ArchivedMonth]) -> Iterable[tuple[str, str, date]]:
    return dict.fromkeys((month.project_id, month.domain, month.month) for month in months)


def _restore(
    connection: psycopg.Connection[Any], folder: Path, project_id: str, domain: str, month: date, hold: timedelta
) -> Restored:
    if domain == "audit":
        raise ArchiveError(
            "The audit log is only ever added to, so archived entries do not come back: read the files below "
            f"{folder / 'audit_log'}."
        )
    count = 0
    with connection.transaction():
        # The lock that ingest takes: it must not insert a row between our look and our insert.
        connection.execute(
            "select pg_advisory_xact_lock(hashtextextended('tracemill.project.' || %s, 0))", [project_id]
        )
        for table in tables(connection, domain):
            key = [project_id, table.relation, month]
            if (
                connection.execute(
                    "select from ops.archived_months "
                    "where project_id = %s and relation = %s and month = %s and released_at is not null",
                    key,
                ).fetchone()
                is not None
            ):
                connection.execute("select ops.ensure_table_partitions(%s, %s, %s)", [[table.name], month, month])
                load(connection, folder, TableMonth(table, project_id, month), "restored")
                count += _insert(connection, table, project_id)
                connection.execute("drop table restored")
            connection.execute(
                "update ops.archived_months set released_at = null, restored_at = coalesce(restored_at, now()), "
                "held_until = greatest(held_until, now() + %s) "
                "where project_id = %s and relation = %s and month = %s",
                [hold, *key],
            )
    return Restored(project_id, domain, month, count)


def _insert(connection: psycopg.Connection[Any], table: Table, project_id: str) -> int:
    statement = sql.SQL(
        "insert into {table} (project_id, {columns}) select {project}, {values} from restored as a "
        "where not exists (select from {table} as t where t.project_id = {project} and {same})"
    ).format(
        table=table.identifier,
        columns=table.columns(),
        project=sql.Literal(project_id),
        values=table.columns("a"),
        same=table.same_key("t", "a"),
    )
    try:
        return connection.execute(statement).rowcount
    except psycopg.errors.ForeignKeyViolation as error:
        raise ArchiveError(
            f"Rows of {table.relation} ({project_id}) cannot come back: what they belong to was deleted meanwhile "
            f"({error.diag.message_detail})"
        ) from error
    except psycopg.IntegrityError as error:
        raise ArchiveError(
            f"Rows of {table.relation} ({project_id}) cannot come back, because the table no longer takes them: "
            f"{error.diag.message_primary}."
        ) from error
