"""Codex rollouts → raw tables: everything once, whatever is read in whatever order and however often."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from rollout_files import START, Rollout

from pipelines import ingest
from pipelines.settings import Settings
from tests import warehouse


def run(settings: Settings, *paths: Path, **options: Any) -> ingest.IngestReport:
    return ingest.run(paths, dsn=settings.database_url, settings=settings, **{"jobs": 1, **options})


def conversation(number: int, turns: int = 3) -> Rollout:
    """A session with a steered, an aborted and some plain turns."""
    rollout = Rollout(start=START + timedelta(days=number), thread=number + 1)
    for turn in range(turns):
        call_id = f"call_{number}_{turn}"
        rollout.prompt(f"Prompt {number}.{turn}").call(call_id).tokens(1000 * (turn + 1), 600, 50 + number)
        rollout.output(call_id, f"Process exited with code {turn % 2}\nOutput:\n…")
        if turn == 1:
            rollout.user("Left, not right").tokens(4000, 3000, 70)
        rollout.tokens(5000, 4000, 90)
        rollout.abort() if turn == 2 else rollout.end()
    return rollout


def totals(connection: psycopg.Connection) -> tuple[int, ...]:
    """Uncached, cached and output tokens of all requests."""
    (row,) = connection.execute(
        "select sum(input_tokens), sum(cache_read_tokens), sum(output_tokens) from raw.model_requests"
    ).fetchall()
    return tuple(int(value) for value in row)


def counted(*rollouts: Rollout) -> tuple[int, int, int]:
    """The same by the counters that the files end with."""
    last = [rollout.totals for rollout in rollouts]
    cached = sum(total["cached_input_tokens"] for total in last)
    return sum(total["input_tokens"] for total in last) - cached, cached, sum(total["output_tokens"] for total in last)


def executions(connection: psycopg.Connection, *columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        f"select {', '.join(columns)} from raw.command_executions order by timestamp, execution_sequence"
    ).fetchall()


def test_a_rollout_becomes_rows_of_its_project(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rollout = conversation(0)
    report = run(settings, rollout.write(tmp_path / "sessions" / "2026" / "rollout-a.jsonl"))
    assert (report.has_problems, report.quarantined) == (False, 0)
    assert executions(connection, "project_id", "command_raw", "status", "status_reason", "sources") == [
        ("shop", "Prompt 0.0", "completed", "answered", ["codex"]),
        ("shop", "Prompt 0.1", "completed", "steered", ["codex"]),
        ("shop", "Left, not right", "completed", "answered", ["codex"]),
        ("shop", "Prompt 0.2", "cancelled", "interrupted", ["codex"]),
    ]
    assert executions(connection, "request_count", "tool_calls", "tool_errors") == [
        (2, 1, 0), (1, 1, 1), (2, 0, 0), (2, 1, 0),
    ]  # fmt: skip
    assert totals(connection) == counted(rollout)
    warehouse.assert_totals_add_up(connection)


def test_cached_tokens_are_inside_the_input_and_cost_their_own_price(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rollout = Rollout().prompt("Go").tokens(100_000, 60_000, 1000).end()
    run(settings, rollout.write(tmp_path / "rollout.jsonl"))
    [row] = executions(connection, "input_tokens", "cached_tokens", "fresh_tokens", "cost_usd", "cost_status")
    # gpt-5.4: 2.50, 0.25 and 15 USD per million tokens.
    assert row == (100_000, 60_000, 41_000, Decimal("0.13"), "computed")


def test_a_service_tier_with_a_price_of_its_own_leaves_the_cost_open(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rollout = Rollout().event("thread_settings_applied", thread_settings={"service_tier": "priority"})
    run(settings, rollout.prompt("Go").tokens().end().write(tmp_path / "rollout.jsonl"))
    assert executions(connection, "cost_usd", "cost_status") == [(None, "unpriced")]


def test_the_same_again_changes_nothing(settings: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    conversation(0).write(tmp_path / "one" / "rollout.jsonl")
    run(settings, tmp_path / "one")
    before = warehouse.contents(connection)
    connection.commit()
    run(settings, tmp_path / "one")
    # A copy elsewhere is another file to the ledger, and the same records.
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    report = run(settings, tmp_path / "two")
    assert all(counts.inserted == 0 for counts in report.records.values())
    after = warehouse.contents(connection)
    assert [len(after[table]) for table in after] == [len(before[table]) for table in before]
    assert totals(connection) == counted(conversation(0))


def test_a_file_that_grows_ends_as_if_read_once(
    settings: Settings, connection: psycopg.Connection, migrated_database: Callable[[], Any], tmp_path: Path
) -> None:
    data = bytes(conversation(0))
    path = tmp_path / "rollout.jsonl"
    draw = random.Random(7)
    for cut in [*sorted(draw.sample(range(500, len(data)), 5)), len(data)]:
        path.write_bytes(data[:cut])
        run(settings, path)
    with migrated_database() as dsn, psycopg.connect(dsn) as other:
        ingest.run([path], dsn=dsn, settings=settings, jobs=1)
        assert warehouse.contents(connection) == warehouse.contents(other)


@pytest.mark.parametrize("order", [("original", "fork"), ("fork", "original"), ("fork", "original", "fork")])
def test_forks_share_their_past_in_any_order(
    order: tuple[str, ...], settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    original = conversation(0)
    fork = original.forked(after=timedelta(days=40), thread=9).prompt("Another way").tokens(700, 0, 70).end()
    files = {"original": original, "fork": fork}
    for number, name in enumerate(order):
        run(settings, files[name].write(tmp_path / f"{number}" / "rollout.jsonl"))
    assert totals(connection) == counted(fork)
    assert executions(
        connection, "command_raw", "status_reason", "timestamp::date - date '2026-03-02'", "session_id"
    ) == [
        ("Prompt 0.0", "answered", 0, original.thread),
        ("Prompt 0.1", "steered", 0, original.thread),
        ("Left, not right", "answered", 0, original.thread),
        ("Prompt 0.2", "interrupted", 0, original.thread),
        ("Another way", "answered", 40, fork.thread),
    ]
    durations = executions(connection, "execution_time_ms > 0", "ended_at - timestamp < interval '1 minute'")
    assert durations == [(True, True)] * 5
    warehouse.assert_totals_add_up(connection)


@pytest.mark.parametrize("agent_comes_first", [False, True])
@pytest.mark.parametrize("copies_history", [False, True])
def test_a_subagents_work_belongs_to_the_prompt_that_started_it(
    copies_history: bool, agent_comes_first: bool, settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    parent = Rollout().prompt("Delegate").call("c1", "spawn_agent").tokens()
    meta = {"source": {"subagent": {"thread_spawn": {"parent_thread_id": parent.thread, "depth": 1}}}}
    soon = timedelta(seconds=20)
    agent = parent.forked(after=soon, **meta) if copies_history else Rollout(start=START + soon, thread=2, **meta)
    agent.prompt("Look around").call("a1").tokens(700, 0, 70).output("a1").end()
    parent.output("c1", json.dumps({"agent_id": agent.thread})).tokens().end().prompt("Next").tokens().end()
    files = [parent.write(tmp_path / "parent.jsonl"), agent.write(tmp_path / "agent.jsonl")]
    for file in reversed(files) if agent_comes_first else files:
        run(settings, file)
    assert executions(connection, "command_raw", "kind", "output_tokens", "request_count", "tool_calls") == [
        ("Delegate", "prompt", 90, 3, 2),
        ("Next", "prompt", 10, 1, 0),
    ]
    warehouse.assert_totals_add_up(connection)


def test_bad_lines_are_quarantined_and_the_rest_is_loaded(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    rollout = conversation(0)
    rollout.lines.insert(5, '{"timestamp": "2026-03-02T09:00:05Z", "type": "event_msg", "payload": {"type": 5}}')
    rollout.lines.insert(9, '{"timestamp": "yesterday", "type": "event_msg", "payload": {"type": "error"}}')
    rollout.lines.insert(12, "half a li")
    rollout.event("novelty")
    report = run(settings, rollout.write(tmp_path / "rollout.jsonl"))
    assert report.has_problems
    assert sorted((problem.line, problem.reason) for problem in report.problems) == [
        (6, "unexpected_shape"), (10, "bad_timestamp"), (13, "malformed_json"),
    ]  # fmt: skip
    assert report.unknown_lines == {"event_msg:novelty": 1}
    assert totals(connection) == counted(rollout)


def test_a_secret_is_stored_from_no_field(settings: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    secret = "gh" + "p_" + "R7tYq2WmZ9xKc4VbN8sLd1HfJ6gPa3Eu5oTi"
    meta = {"cli_version": secret, "originator": secret, "source": secret, "git": {"branch": secret}}
    rollout = Rollout(cwd=f"/src/{secret}", **meta)
    rollout.prompt(f"use {secret}", model=secret).context(effort=secret, approval_policy=secret)
    rollout.call(secret, secret).output(secret, f"failed to use {secret}").tokens().call("open")
    rollout.event(secret).item(secret).add(secret).abort(secret)
    rollout.turn_id = secret
    rollout.event("task_started", turn_id=secret).user(secret).call("c2").tokens().event("error", message=secret).end()
    rollout.lines.append(f'{{"type": "event_msg", "payload": {secret}')
    rollout.lines.append(f'{{"timestamp": "{secret}", "type": "turn_context", "payload": {{}}}}')
    report = run(settings, rollout.write(tmp_path / "rollout.jsonl"))
    assert secret not in json.dumps(report.to_json())
    assert executions(connection, "status", "tool_calls") == [("cancelled", 2), ("failed", 1)]
    unknown = "select sum(n::int) from ops.ingest_files, jsonb_each_text(unknown_lines) as u (kind, n)"
    assert connection.execute(unknown).fetchall() == [(3,)]
    holding = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('raw', 'ops', 'app')"
    for (table,) in connection.execute(holding).fetchall():
        found = connection.execute(f"select t::text from {table} as t where t::text like %s", [f"%{secret}%"])
        assert found.fetchall() == [], table


_PROGRAM = """
import sys
from pathlib import Path
from pipelines import ingest, settings
from pipelines.ingest import worker

worker.BATCH_ROWS = 50  # small batches: many commits to be killed between
s = settings.load()
ingest.run([Path(sys.argv[1])], dsn=s.database_url, settings=s, jobs=1)
"""


def kill_after(files_committed: int, folder: Path, settings: Settings, connection: psycopg.Connection) -> None:
    """Starts an ingest and kills it as soon as that many files are in the ledger."""
    environment = {
        **os.environ,
        "TRACEMILL_DATABASE_URL": settings.database_url or "",
        "TRACEMILL_HOME": str(settings.home),
        "TRACEMILL_REDACTION_KEY": settings.redaction_key or "",
        "TRACEMILL_DEVICE_ID": settings.device_id,
    }
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(folder)], env=environment)
    try:
        while process.poll() is None:
            (committed,) = connection.execute("select count(*) from ops.ingest_files").fetchall()[0]
            connection.commit()
            if committed >= files_committed:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def test_an_ingest_of_rollouts_that_is_killed_ends_complete(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "sessions"
    rollouts = [conversation(number, turns=6) for number in range(20)]
    for number, rollout in enumerate(rollouts):
        rollout.write(folder / f"rollout-{number:02d}.jsonl")
    for files_committed in (1, 9):
        kill_after(files_committed, folder, settings, connection)
        assert files_committed * 6 <= len(warehouse.tool_uses(connection)) < 20 * 6
        warehouse.assert_totals_add_up(connection)
        connection.commit()
    run(settings, folder)
    assert totals(connection) == counted(*rollouts)
    assert len(warehouse.tool_uses(connection)) == 20 * 6
    warehouse.assert_totals_add_up(connection)
