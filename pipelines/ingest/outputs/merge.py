"""One document into the raw tables, in the caller's transaction: parents before children, each row by its own identity.

What is already stored and equal is left alone, so that reading a document again changes nothing; what a document no
longer says stays. A lock per project, the one that logs take too, lets writers of one project take turns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from pipelines.ingest.config_diffs import ConfigVersion, config_diff
from pipelines.ingest.merge import keep_partitions, lock_projects
from pipelines.ingest.outputs.staging import StagedRow
from pipelines.ingest.report import TableCounts
from pipelines.sources.records import stable_uuid

_SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True)
class _Target:
    """A table with the query of the same name that gives its rows."""

    table: str
    key: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Columns that keep their first value."""
    moment: str = "null::timestamptz"
    """When what a row (``t``) is about happened: the day that marts have to look at again."""


_RUN_MOMENT = (
    "(select r.created_at from raw.optimization_runs as r where r.project_id = t.project_id and r.id = t.run_id)"
)
_RUNS = (
    _Target("optimization_runs", ("project_id", "id"), ("source", "source_key", "created_at"), "t.created_at"),
    _Target("optimization_iterations", ("project_id", "run_id", "iteration"), ("id",), _RUN_MOMENT),
    _Target("optimization_samples", ("project_id", "run_id", "iteration", "sample_index"), ("id",), _RUN_MOMENT),
)
_EVALUATIONS = (
    _Target("scenarios", ("project_id", "scenario_id")),
    _Target("simulations", ("project_id", "simulation_id"), ("source", "source_key", "created_at"), "t.created_at"),
    _Target("simulation_scenarios", ("project_id", "simulation_id", "scenario_id"), ("execution_order",)),
    _Target("outcomes", ("project_id", "outcome_id", "execution_time"), moment="t.execution_time"),
    _Target("tool_usage", ("project_id", "outcome_id", "execution_time", "call_number"), moment="t.execution_time"),
    _Target("failure_patterns", ("project_id", "pattern_id", "execution_time"), moment="t.execution_time"),
)


class Refused(msgspec.Struct, frozen=True):
    """A staged record that does not fit to the others."""

    line: int
    offset: int
    reason: str
    detail: str
    sample: str


def stage(connection: psycopg.Connection[Any], rows: Iterable[StagedRow]) -> None:
    """Puts the records of one document, as they come, into the staging table; in place of the last document's."""
    connection.execute(_statements("stage"))
    connection.execute("truncate staged_outputs, refused_outputs")
    with connection.cursor() as cursor, cursor.copy("copy staged_outputs from stdin") as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute("analyze staged_outputs")


def refused(connection: psycopg.Connection[Any], projects: Iterable[str]) -> list[Refused]:
    """Takes the records that do not fit out of the staging table, under the locks of the projects."""
    keep_partitions(connection)
    lock_projects(connection, projects)
    # Looked up before they are taken out: only the staging table knows their lines.
    connection.execute(
        "create temporary table staged_places on commit drop as "
        "select record_number, line_number, byte_offset, left(body::text, 256) as sample from staged_outputs"
    )
    connection.execute(_statements("refuse"))
    rows = connection.execute(
        "select p.line_number, p.byte_offset, r.reason, r.detail, p.sample "
        "from refused_outputs as r inner join staged_places as p on r.record_number = p.record_number "
        "order by r.record_number, r.detail"
    )
    return [Refused(*row) for row in rows]


def merge(connection: psycopg.Connection[Any], source: str, file_key: str) -> dict[str, TableCounts]:
    """Merges what is staged; returns what happened per table."""
    kinds = {row[0] for row in connection.execute("select distinct kind from staged_outputs")}
    parameters = {"source": source, "file_key": file_key}
    counts: dict[str, TableCounts] = {}
    connection.execute(
        "create temporary table touched_output_days (project_id text, activity_date date) on commit drop"
    )
    if kinds & {"run", "iteration", "sample"}:
        # Statistics of runs are kept by triggers, one run after the other in this order.
        connection.execute(
            "select from raw.optimization_runs as r where (r.project_id, r.id) in ("
            "select project_id, (body ->> 'run_id')::uuid from staged_outputs where kind = 'iteration') "
            "order by r.project_id, r.id for no key update"
        )
        for target in _RUNS:
            counts[target.table] = _upsert(connection, target, parameters)
    if kinds & {"scenario", "simulation", "outcome"}:
        counts |= _add_config_versions(connection)
        for target in _EVALUATIONS:
            counts[target.table] = _upsert(connection, target, parameters)
        connection.execute(_statements("remove_surplus"))
    connection.execute(_statements("touch_days"))
    return counts


def _upsert(connection: psycopg.Connection[Any], target: _Target, parameters: dict[str, str]) -> TableCounts:
    fresh, table = sql.Identifier(f"fresh_{target.table}"), sql.Identifier("raw", target.table)
    # CREATE TABLE AS takes no parameters from the protocol: they are written into the text, quoted.
    query = sql.SQL(_statements(target.table).decode()).as_string()
    for name, value in parameters.items():
        query = query.replace(f"%({name})s", sql.Literal(value).as_string(connection))
    connection.execute(sql.SQL("create temporary table {} on commit drop as {}").format(fresh, sql.SQL(query)))
    connection.execute(sql.SQL("analyze {}").format(fresh))
    columns = _columns(connection, f"fresh_{target.table}")
    changing = [name for name in columns if name not in target.key and name not in target.kept]
    on_key = sql.SQL(" and ").join(sql.SQL("f.{0} = t.{0}").format(sql.Identifier(name)) for name in target.key)
    total, known = _one(
        connection,
        sql.SQL("select count(*), count(*) filter (where exists(select from {} as t where {})) from {} as f").format(
            table, on_key, fresh
        ),
    )
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    (written,) = _one(
        connection,
        sql.SQL(
            "with written as ("
            "insert into {table} as t ({names}) select {names} from {fresh} order by {key} "
            "on conflict ({key}) do update set {assignments} where ({old}) is distinct from ({new}) "
            "returning t.project_id, {moment} as moment"
            "), days as (insert into touched_output_days "
            "select distinct project_id, (moment at time zone 'UTC')::date from written where moment is not null) "
            "select count(*) from written"
        ).format(
            moment=sql.SQL(target.moment),
            table=table,
            names=names,
            fresh=fresh,
            key=sql.SQL(", ").join(sql.Identifier(name) for name in target.key),
            assignments=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(n)) for n in changing),
            old=sql.SQL(", ").join(
                sql.SQL("t.{}").format(sql.Identifier(n)) for n in changing if n != "source_file_key"
            ),
            new=sql.SQL(", ").join(
                sql.SQL("excluded.{}").format(sql.Identifier(n)) for n in changing if n != "source_file_key"
            ),
        ),
    )
    inserted = total - known
    return TableCounts(inserted=inserted, updated=written - inserted, unchanged=total - written)


def _add_config_versions(connection: psycopg.Connection[Any]) -> dict[str, TableCounts]:
    """New configurations and versions, the earliest simulation's first; each that follows another gets its diff."""
    found = connection.execute(
        """
        select
            s.project_id,
            s.body ->> 'config_name' as config_name,
            s.body ->> 'config_yaml' as config_yaml,
            s.body -> 'config' as config,
            min((s.body ->> 'created_at')::timestamptz) as created_at
        from staged_outputs as s
        where s.kind = 'simulation'
        group by 1, 2, 3, 4
        order by 1, 2, 5, 3
        """
    ).fetchall()
    counts = {table: TableCounts() for table in ("configurations", "config_versions", "config_diffs")}
    earliest: dict[tuple[str, str], Any] = {}
    for project_id, name, _, _, created_at in found:
        earliest.setdefault((project_id, name), created_at)
    for (project_id, name), created_at in earliest.items():
        added = connection.execute(
            "insert into raw.configurations (project_id, config_id, name, created_at, updated_at) "
            "values (%s, %s, %s, least(%s, now()), now()) on conflict do nothing",
            [project_id, _config_id(name), name, created_at],
        )
        _count(counts["configurations"], added.rowcount)
    for project_id, name, text, parsed, created_at in found:
        version = connection.execute(
            """
            insert into raw.config_versions
                (project_id, version_id, config_id, raw_yaml, parsed_config, generated_by, created_at)
            select c.project_id, %(version_id)s, c.config_id, %(text)s, %(parsed)s, 'ingest', %(created_at)s
            from raw.configurations as c
            where c.project_id = %(project_id)s and c.name = %(name)s
                and not exists (
                    select from raw.config_versions as v
                    where v.project_id = c.project_id and v.config_id = c.config_id
                        and v.config_hash = app.text_sha256(%(text)s)
                )
            returning config_id, version_id, version_number
            """,
            {
                "project_id": project_id,
                "name": name,
                "version_id": stable_uuid(f"{_config_id(name)}:{text}"),
                "text": text,
                "parsed": Jsonb(parsed),
                "created_at": created_at,
            },
        ).fetchone()
        _count(counts["config_versions"], 0 if version is None else 1)
        if version is not None:
            config_id, version_id, number = version
            after = ConfigVersion(number, text, parsed)
            counts["config_diffs"].inserted += _add_diff(connection, project_id, config_id, version_id, after)
    return counts


def _config_id(name: str) -> str:
    return stable_uuid(f"configuration:{name}")


def _count(counts: TableCounts, inserted: int) -> None:
    """One row that was inserted or was there already."""
    counts.inserted += inserted
    counts.unchanged += 1 - inserted


def _add_diff(
    connection: psycopg.Connection[Any],
    project_id: str,
    config_id: Any,
    version_id: Any,
    after: ConfigVersion,
) -> int:
    """Rows added: 1 where the version follows another, else 0."""
    before = connection.execute(
        "select version_id, version_number, raw_yaml, parsed_config from raw.config_versions "
        "where project_id = %s and config_id = %s and version_number < %s order by version_number desc limit 1",
        [project_id, config_id, after.number],
    ).fetchone()
    if before is None:
        return 0
    diff = config_diff(ConfigVersion(before[1], before[2], before[3]), after)
    return connection.execute(
        "insert into raw.config_diffs (project_id, config_id, version_before, number_before, version_after, "
        "number_after, diff_yaml, change_summary) values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        [
            project_id,
            config_id,
            before[0],
            before[1],
            version_id,
            after.number,
            diff.diff_yaml,
            Jsonb(diff.change_summary),
        ],
    ).rowcount


def _columns(connection: psycopg.Connection[Any], table: str) -> Sequence[str]:
    cursor = connection.execute(sql.SQL("select * from {} limit 0").format(sql.Identifier(table)))
    return [column.name for column in cursor.description or ()]


def _one(connection: psycopg.Connection[Any], query: sql.Composed) -> tuple[int, ...]:
    (row,) = connection.execute(query).fetchall()
    return tuple(row)


@cache
def _statements(name: str) -> bytes:
    return (_SQL / f"{name}.sql").read_bytes()
