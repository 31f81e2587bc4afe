"""VACUUM and ANALYZE where autovacuum does not come by.

It never analyzes a partitioned table itself, so estimates for queries over all months grow old; and after a mass
delete it may take hours to come. Only the owner of a table may do this, so the connection acts as tracemill_owner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

_PLAN = """
with leaves as (
    select
        t.relid,
        coalesce(i.inhparent, t.relid) as root,
        t.n_dead_tup,
        t.n_live_tup,
        t.n_tup_ins + t.n_tup_upd + t.n_tup_del as changes
    from pg_stat_user_tables as t
    join pg_class as c on c.oid = t.relid and c.relkind = 'r' and c.relowner = 'tracemill_owner'::regrole
    left join pg_inherits as i on i.inhrelid = t.relid
)
select n.nspname, c.relname, true as is_vacuum
from leaves as l
join pg_class as c on c.oid = l.relid
join pg_namespace as n on n.oid = c.relnamespace
where l.n_dead_tup > 10000 and l.n_dead_tup > 0.1 * l.n_live_tup
union all
select n.nspname, c.relname, false
from (select root, sum(n_live_tup) as live from leaves group by root) as l
join pg_class as c on c.oid = l.root and c.relkind = 'p'
join pg_namespace as n on n.oid = c.relnamespace
where abs(l.live - greatest(c.reltuples, 0)) > greatest(1000, 0.1 * greatest(c.reltuples, 0))
order by 1, 2
"""


@dataclass(frozen=True)
class Task:
    """One table to look after."""

    schema: str
    table: str
    is_vacuum: bool
    """VACUUM with ANALYZE; else ANALYZE alone."""

    def __str__(self) -> str:
        return f"{'vacuum' if self.is_vacuum else 'analyze'} {self.schema}.{self.table}"


def plan(connection: psycopg.Connection[Any]) -> list[Task]:
    """Tables with many dead rows, and partitioned tables whose size is no longer what the planner believes."""
    return [Task(*row) for row in connection.execute(_PLAN)]


def apply(connection: psycopg.Connection[Any], tasks: Sequence[Task]) -> None:
    """Carry ``tasks`` out; tables that are locked at the moment are left for the next time."""
    for task in tasks:
        how = sql.SQL("vacuum (analyze, skip_locked)" if task.is_vacuum else "analyze (skip_locked)")
        connection.execute(sql.SQL("{} {}").format(how, sql.Identifier(task.schema, task.table)))
