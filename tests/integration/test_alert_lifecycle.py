"""Every condition of v_alerts from its begin to its end, and what a real receiver is told of it: each thing once.

Limits of the platform are variables of dbt; here they are so low that a test can pass them.
"""

import html
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from threading import Thread
from typing import Any
from unittest.mock import ANY

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from pipelines import ingest
from pipelines.database import connect
from pipelines.maintenance import alerts
from pipelines.maintenance.senders import WebhookSender
from pipelines.settings import Settings
from tests.embedding_endpoint import serving, status
from tests.evaluation_rows import MOMENT, TRAJECTORY, add, add_evaluation
from tests.marts import build, warehouse_environment
from tests.monitored import acting_as, add_executions, rows

NOW = datetime.now(UTC)
SPARE_BYTES = 20_000_000
CONNECTIONS = 110


@dataclass(frozen=True)
class Warehouse:
    """One in which nothing fires."""

    settings: Settings
    owner: psycopg.Connection[Any]
    """A superuser's connection, in autocommit."""
    platform: psycopg.Connection[Any]
    """The one that alerts are sent with."""
    limits: str

    def rebuild(self, *models: str) -> None:
        with warehouse_environment(self.settings, self.settings.database_url or ""):
            build(self.owner, [], "--select", *models, "--vars", self.limits, command="run")

    def allow(self, project: str, **thresholds: float) -> None:
        self.owner.execute(
            "update app.project_config set settings = %s where project_id = %s",
            [Jsonb({"alerts": thresholds}), project],
        )


@dataclass(frozen=True)
class Firing:
    """What must be told."""

    key: str
    severity: str = "warning"
    evidence: dict[str, Any] = field(default_factory=dict)
    """Part of it."""


Provocation = Callable[[Warehouse], Iterator[Firing]]
"""Brings a condition about, says what must fire, and mends it."""


@pytest.fixture(scope="module")
def warehouse(
    monitored: Settings, cloned_database: Callable[[str], AbstractContextManager[str]]
) -> Iterator[Warehouse]:
    original = str(conninfo_to_dict(monitored.database_url or "")["dbname"])
    with (
        cloned_database(original) as dsn,
        connect(dsn, autocommit=True) as owner,
        connect(dsn, role=alerts.ROLE, autocommit=True) as platform,
    ):
        (size,) = owner.execute("select pg_database_size(current_database())").fetchone()
        limits = {
            "alert_database_size_bytes": size + SPARE_BYTES, "alert_connection_share": 0.5, "alert_slow_query_ms": 50
        }  # fmt: skip
        made = Warehouse(replace(monitored, database_url=dsn), owner, platform, json.dumps(limits))
        made.rebuild("v_alerts", "v_slow_queries")
        made.allow("spender", cost_spike_factor=30)
        yield made


def silence(warehouse: Warehouse) -> Iterator[Firing]:
    warehouse.owner.execute(
        "delete from raw.command_executions where project_id = 'beta' and timestamp > now() - interval '5 hours'"
    )
    yield Firing(
        "silence:beta:executions", evidence={"silent_hours": pytest.approx(5.5, abs=0.6), "usual_gap_hours": 1}
    )
    add_executions(warehouse.owner, ("beta",), "completed", NOW, NOW, "1 hour")


def stale_mart(warehouse: Warehouse) -> Iterator[Firing]:
    warehouse.owner.execute("delete from ops.touched_days")
    warehouse.owner.execute(
        "insert into ops.touched_days (project_id, activity_date, touched_at) values "
        "('alpha', '2026-01-05', now() - interval '27 hours'), ('alpha', '2026-01-06', now()), "
        "('beta', '2026-01-05', now() - interval '25 hours')"
    )
    yield Firing(
        "stale_mart:alpha:marts",
        "critical",
        {"waiting_days": 2, "first_waiting_date": "2026-01-05", "limit_hours": 26},
    )
    warehouse.owner.execute("delete from ops.touched_days")


def missing_partition(warehouse: Warehouse) -> Iterator[Firing]:
    month = (date(NOW.year, NOW.month, 1) + timedelta(days=32)).replace(day=1)
    warehouse.owner.execute(f"drop table partitions.tool_calls_{month:%Y_%m}")
    yield Firing(f"missing_partition:*:{month:%Y-%m}", evidence={"tables": ["raw.tool_calls"], "months_ahead": 2})
    warehouse.owner.execute("select ops.ensure_month_partitions(%s, %s)", [month, month])


def rows_in_default(warehouse: Warehouse) -> Iterator[Firing]:
    old = datetime(2019, 5, 6, tzinfo=UTC)
    assert add_executions(warehouse.owner, ("alpha",), "completed", old, old + timedelta(hours=2), "1 hour") == 3
    (coverage,) = rows(warehouse.owner, "v_partition_coverage", "relation = 'raw.command_executions'")
    assert (coverage["default_row_count"], coverage["is_covered"]) == (3, False)
    yield Firing("rows_in_default:*:raw.command_executions", "critical", {"rows": 3, "months": ["2019-05-01"]})
    warehouse.owner.execute("delete from raw.command_executions where timestamp < '2020-01-01'")


def unprotected(relation: str, damage: str, repair: str, **evidence: object) -> Provocation:
    """A relation that tenants can read rows of others in."""

    def provocation(warehouse: Warehouse) -> Iterator[Firing]:
        warehouse.owner.execute(damage)
        assert [row["relation"] for row in rows(warehouse.owner, "v_rls_coverage", "not is_protected")] == [relation]
        yield Firing(f"unprotected_relation:*:{relation}", "critical", evidence)
        warehouse.owner.execute(repair)

    return provocation


def quarantine_rate(warehouse: Warehouse) -> Iterator[Firing]:
    folder = warehouse.settings.home / "flood"
    folder.mkdir()
    (folder / "flood.jsonl").write_text("".join(f'{{"broken {n}\n' for n in range(30)))
    report = ingest.run(
        [folder], dsn=warehouse.settings.database_url or "", settings=warehouse.settings, project="noisy", jobs=1,
        source="claude_code",
    )  # fmt: skip
    assert report.quarantined == 30
    yield Firing("quarantine_rate:noisy:lines", evidence={"new_lines": 30, "read_lines": 30, "rate": 1})
    warehouse.owner.execute("update ops.quarantined_records set quarantined_at = quarantined_at - interval '25 hours'")


def cost_spike(warehouse: Warehouse) -> Iterator[Firing]:
    day, spent = warehouse.owner.execute(
        "select (timestamp at time zone 'UTC')::date, sum(cost_usd) from raw.model_requests "
        "where project_id = 'spender' group by 1 order by 2 desc limit 1"
    ).fetchone()
    assert spent > 500
    warehouse.allow("spender")
    yield Firing(
        f"cost_spike:spender:{day}", evidence={"cost_usd": pytest.approx(float(spent), rel=1e-3), "median_usd": 24}
    )
    warehouse.allow("spender", cost_spike_factor=30)


def budget(warehouse: Warehouse) -> Iterator[Firing]:
    """Passed by yesterday, a day after which the marts end."""
    limit = "update app.project_config set monthly_budget_usd = %s where project_id = 'beta'"
    warehouse.owner.execute(limit, [10])
    warehouse.rebuild("budget_status")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    (spent,) = warehouse.owner.execute(
        "select sum(cost_usd) from raw.model_requests where project_id = 'beta' "
        "and timestamp >= date_trunc('month', %(day)s::timestamp) at time zone 'UTC' "
        "and timestamp < (%(day)s::timestamp + interval '1 day') at time zone 'UTC'",
        {"day": yesterday},
    ).fetchone()
    yield Firing(
        f"budget:beta:{yesterday:%Y-%m}",
        "critical",
        {"status": "exceeded", "spent_usd": float(spent), "monthly_budget_usd": 10},
    )
    warehouse.owner.execute(limit, [1_000_000])
    warehouse.rebuild("budget_status")


def error_rate_of_executions(warehouse: Warehouse) -> Iterator[Firing]:
    first = NOW - timedelta(minutes=18)
    failed = add_executions(warehouse.owner, ("alpha",), "failed", first, NOW, "1 minute")
    yield Firing("error_rate:alpha:executions", evidence={"errors": failed, "min_count": 20})
    warehouse.owner.execute("delete from raw.command_executions where status = 'failed'")


def error_rate_of_outcomes(warehouse: Warehouse) -> Iterator[Firing]:
    warehouse.owner.execute("select ops.ensure_month_partitions(%(day)s, %(day)s)", {"day": MOMENT.date()})
    made = add_evaluation(warehouse.owner, "beta")
    for minute in range(25):
        add(
            warehouse.owner, "raw.outcomes", project_id="beta", simulation_id=made.simulation, epoch=2 + minute,
            scenario_id=made.scenario, execution_time=NOW - timedelta(minutes=minute), trajectory=TRAJECTORY,
            status="timeout" if minute % 2 else "success",
        )  # fmt: skip
    yield Firing("error_rate:beta:outcomes", evidence={"errors": 12, "finished": 25, "rate": 0.48})
    warehouse.allow("beta", error_rate=0.5)


def database_size(warehouse: Warehouse) -> Iterator[Firing]:
    warehouse.owner.execute("create unlogged table public.ballast as select generate_series(1, 1000000)")
    (size,) = warehouse.owner.execute("select pg_database_size(current_database())").fetchone()
    yield Firing(
        f"database_size:*:{warehouse.owner.info.dbname}", evidence={"size_bytes": pytest.approx(size, rel=0.05)}
    )
    warehouse.owner.execute("drop table public.ballast")


def connection_use(warehouse: Warehouse) -> Iterator[Firing]:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(connect(warehouse.settings.database_url or ""))
        used = pytest.approx(CONNECTIONS + 30, abs=30)
        yield Firing("connection_use:*:server", evidence={"connections": used, "limit": 200, "limit_share": 0.5})
    # A server notices at its leisure that somebody has gone.
    _wait_until(warehouse.owner, f"(select sum(numbackends) < {CONNECTIONS / 2} from pg_stat_database)")


def slow_queries_on_average(warehouse: Warehouse) -> Iterator[Firing]:
    with acting_as(warehouse.owner, "app_readonly"):
        for _ in range(5):
            # A parameter, because a server that forgets statements while they run keeps their constants.
            warehouse.owner.execute("select pg_sleep(%s)", [0.06])
    (slow,) = rows(warehouse.owner, "v_slow_queries", "is_slow")
    assert slow["mean_ms"] >= 60
    slowest = {"kind": "average", "role_name": "app_readonly", "calls": 5, "duration_ms": ANY,
               "statement": "select pg_sleep($1)"}  # fmt: skip
    yield Firing("slow_queries:*:statements", evidence={"statements": 1, "limit_ms": 50, "slowest": slowest})
    warehouse.owner.execute(
        "select pg_stat_statements_reset(0, oid) from pg_database where datname = current_database()"
    )


def slow_queries_that_run(warehouse: Warehouse) -> Iterator[Firing]:
    with connect(
        make_conninfo(warehouse.settings.database_url or "", user="tracemill_reader"), autocommit=True
    ) as analyst:
        thread = Thread(target=_cancelled, args=(analyst, "select pg_sleep(120)"))
        thread.start()
        _wait_until(
            warehouse.owner,
            "exists (select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep' "
            "and query_start < now() - interval '100 ms')",
        )
        slowest = {"kind": "running", "role_name": "tracemill_reader", "calls": 1, "duration_ms": ANY,
                   "statement": None}  # fmt: skip
        yield Firing("slow_queries:*:statements", evidence={"statements": 1, "slowest": slowest})
        analyst.cancel_safe()
        thread.join()


def _wait_until(connection: psycopg.Connection[Any], condition: str) -> None:
    deadline = time.monotonic() + 60
    while connection.execute(f"select {condition}").fetchone() != (True,):
        assert time.monotonic() < deadline, f"it never became true that {condition}"
        time.sleep(0.05)


def _cancelled(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(statement)


PROVOCATIONS = {
    "silence": silence,
    "stale_mart": stale_mart,
    "missing_partition": missing_partition,
    "rows_in_default": rows_in_default,
    "unprotected_relation: policies are off": unprotected(
        "marts.session_summary",
        "alter table marts.session_summary disable row level security",
        "alter table marts.session_summary enable row level security",
        is_row_security=False, is_row_security_forced=True,
    ),
    "unprotected_relation: its owner is exempt": unprotected(
        "marts.session_summary",
        "alter table marts.session_summary no force row level security",
        "alter table marts.session_summary force row level security",
        is_row_security=True, is_row_security_forced=False,
    ),
    "unprotected_relation: a view asks as its owner": unprotected(
        "monitoring.v_ingest_health",
        "alter view monitoring.v_ingest_health set (security_invoker = false)",
        "alter view monitoring.v_ingest_health set (security_invoker = true)",
        kind="view",
    ),
    "unprotected_relation: a table without policies": unprotected(
        "ops.aggregation_days",
        "grant select on ops.aggregation_days to app_user",
        "revoke select on ops.aggregation_days from app_user",
        kind="table", policies=0,
    ),
    "quarantine_rate": quarantine_rate,
    "cost_spike": cost_spike,
    "budget": budget,
    "error_rate: executions": error_rate_of_executions,
    "error_rate: outcomes": error_rate_of_outcomes,
    "database_size": database_size,
    "connection_use": connection_use,
    "slow_queries: on average": slow_queries_on_average,
    "slow_queries: under way": slow_queries_that_run,
}  # fmt: skip


@contextmanager
def provoked(name: str, warehouse: Warehouse) -> Iterator[Firing]:
    """The condition, mended at the end whatever has become of the test."""
    provocation = PROVOCATIONS[name](warehouse)
    try:
        yield next(provocation)
    finally:
        assert next(provocation, None) is None


def test_every_condition_of_the_view_is_provoked_here(warehouse: Warehouse) -> None:
    (definition,) = warehouse.owner.execute("select pg_get_viewdef('monitoring.v_alerts'::regclass)").fetchone()
    conditions = set(re.findall(r"'(\w+)'::text AS alert\b", definition))
    assert conditions == {name.partition(":")[0] for name in PROVOCATIONS}


@pytest.mark.parametrize("name", PROVOCATIONS)
def test_condition_is_told_once_with_its_evidence_and_once_when_it_is_over(name: str, warehouse: Warehouse) -> None:
    alert = name.partition(":")[0]
    warehouse.platform.execute("delete from ops.alert_states")
    with serving(status(200)) as webhook:

        def tell() -> list[dict[str, Any]]:
            webhook.requests.clear()
            sender = WebhookSender(webhook.url)
            alerts.note_firing(warehouse.platform, [sender.channel])
            assert alerts.deliver(warehouse.platform, [sender]).failures == {}
            return [attachment for request in webhook.requests for attachment in request["attachments"]]

        assert tell() == [], "nothing fires before"
        with provoked(name, warehouse) as expected:
            assert expected.key.startswith(f"{alert}:")
            (told,) = tell()
            assert told["title"].startswith(f"{expected.severity.upper()} {alert}: ")
            key, severity, summary, evidence, command = warehouse.platform.execute(
                "select alert_key, severity, summary, evidence, command from ops.alert_states"
            ).fetchone()
            assert (key, severity) == (expected.key, expected.severity)
            assert {part: evidence[part] for part in expected.evidence} == expected.evidence
            text = html.unescape(told["text"])
            assert text.startswith(summary)
            assert text.endswith(command)
            assert all(f"{part} {value}" in text for part, value in evidence.items() if value is not None)
            assert tell() == [], "it is told once"
        (over,) = tell()
        assert over["title"] == told["title"].replace(expected.severity.upper(), "CLEARED")
        assert tell() == []
