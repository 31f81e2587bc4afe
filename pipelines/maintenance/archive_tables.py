"""Tables whose months are archived, as the catalogue describes them now: no list of columns to keep up to date."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

_TABLES = """
select
    r.relation,
    r.domain,
    r.time_column,
    c.relkind = 'p' as is_partitioned,
    (
        select jsonb_object_agg(a.attname, format_type(a.atttypid, null) order by a.attnum)
        from pg_attribute as a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    ) as types,
    (
        select array_agg(a.attname::text order by a.attnum)
        from pg_attribute as a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    ) as names,
    (
        select array_agg(a.attname::text order by place.n)
        from pg_constraint as k
        cross join lateral unnest(k.conkey) with ordinality as place (attnum, n)
        join pg_attribute as a on a.attrelid = c.oid and a.attnum = place.attnum
        where k.conrelid = c.oid and k.contype = 'p'
    ) as primary_key
from ops.retention_rules as r
join pg_class as c on c.oid = r.relation::regclass
where %(domain)s::text is null or r.domain = %(domain)s
order by r.domain, r.position
"""


@dataclass(frozen=True)
class Correction:
    """What a migration changed in the rows of a table: those that were away are corrected as they are read."""

    relation: str
    migration: str
    """Its number: files of an older schema hold the rows as they were before it."""
    change: LiteralString
    """``set`` and ``where`` of the migration's own update."""


CORRECTIONS = (
    Correction(
        "raw.command_executions",
        "0031",
        "set execution_time_ms = null where execution_time_ms = 0 and (ended_at = timestamp or kind = 'orphan')",
    ),
)


@dataclass(frozen=True)
class Table:
    """A table with the columns that its files hold: all but project_id and what PostgreSQL generates."""

    relation: str
    """Its name with the schema."""
    domain: str
    time_column: str
    types: dict[str, str]
    """Column → PostgreSQL type, in the table's order."""
    key: tuple[str, ...]
    """What names a row within its project."""

    @property
    def name(self) -> str:
        """Its name without the schema."""
        return self.relation.partition(".")[2]

    @property
    def identifier(self) -> sql.Identifier:
        """Its name for a statement."""
        return sql.Identifier(*self.relation.split("."))

    def columns(self, alias: str | None = None) -> sql.Composed:
        """The columns of ``types`` for a statement."""
        prefix = (alias,) if alias else ()
        return sql.SQL(", ").join(sql.Identifier(*prefix, name) for name in self.types)

    def same_key(self, left: str, right: str) -> sql.Composed:
        """Condition: both aliases are the same row of one project."""
        return sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier(left, name), sql.Identifier(right, name)) for name in self.key
        )


def tables(connection: psycopg.Connection[Any], domain: str | None = None) -> tuple[Table, ...]:
    """The tables of ``domain``, or of all; earlier ones first where rows refer to each other."""
    found = []
    for relation, domain_, time_column, is_partitioned, types, names, primary_key in connection.execute(
        _TABLES, {"domain": domain}
    ):
        # The time of a partitioned table is part of its primary key only because PostgreSQL asks for it.
        no_identity = {"project_id", time_column} if is_partitioned and len(primary_key) > 2 else {"project_id"}
        found.append(
            Table(
                relation,
                domain_,
                time_column,
                {name: types[name] for name in names if name != "project_id"},
                tuple(name for name in primary_key if name not in no_identity),
            )
        )
    return tuple(found)


def month_of(day: date) -> date:
    """First day of the month."""
    return day.replace(day=1)


def next_month(month: date) -> date:
    """First day of the month after ``month``."""
    return month_of(month.replace(day=1) + timedelta(days=32))


def month_start(month: date) -> datetime:
    """First moment of the month, UTC."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)
