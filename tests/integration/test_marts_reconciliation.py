"""Sources, workspaces, caches, history and metrics against pandas, which gets the raw rows.

These come from sample logs of three projects, and from the reference corpus where it is there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from pipelines import ingest, samples
from pipelines.database import connect
from pipelines.settings import REPOSITORY, Settings
from tests.marts import build, frame, warehouse_environment

CORPUS = REPOSITORY.parent / "shared" / "corpus"
CORPUS_LOGS = ("claude_code", "claude_stream_json", "codex")
METRICFLOW = Path(sys.executable).with_name("mf")


@dataclass(frozen=True)
class Warehouse:
    """A built warehouse and its raw rows as frames."""

    connection: psycopg.Connection
    settings: Settings
    dsn: str
    executions: pd.DataFrame
    requests: pd.DataFrame

    def mart(self, name: str, keys: list[str]) -> pd.DataFrame:
        return frame(self.connection, f"select * from marts.{name}").set_index(keys).sort_index()

    def window(self) -> tuple[date, date]:
        first, last = self.connection.execute(
            "select window_start, window_end from intermediate.int_aggregation_window"
        ).fetchone()
        return first, last


@pytest.fixture(scope="module")
def warehouse(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("logs")
    samples.generate(folder, days=40, size_bytes=600_000)
    with migrated_database() as dsn, connect(dsn) as connection:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"),
            database_url=dsn,
            reader_database_url=None,
            watched_folders=(),
            device_id="test-device",
            redaction_key="key of the tests",
        )
        ingest.run([folder], dsn=dsn, settings=settings, jobs=1)
        if CORPUS.is_dir():
            logs = [CORPUS / name for name in CORPUS_LOGS]
            ingest.run(logs, dsn=dsn, settings=settings, project="corpus", jobs=1)
        days = [day for (day,) in connection.execute("select distinct activity_date from ops.touched_days").fetchall()]
        with warehouse_environment(settings, dsn):
            build(connection, days, command="run")
            executions = frame(connection, "select * from raw.command_executions")
            executions["activity_date"] = executions.timestamp.dt.tz_convert("UTC").dt.date
            requests = frame(connection, "select * from raw.model_requests where kind <> 'synthetic'")
            requests["activity_date"] = requests.timestamp.dt.tz_convert("UTC").dt.date
            requests["total_tokens"] = requests[
                ["input_tokens", "cache_creation_tokens", "cache_read_tokens", "output_tokens"]
            ].sum(axis=1)
            yield Warehouse(connection, settings, dsn, executions, requests)


def assert_same(found: pd.Series, expected: pd.Series) -> None:
    """The same numbers for the same keys; missing ones are zero."""
    keys = found.index.union(expected.index)
    np.testing.assert_allclose(
        found.reindex(keys).fillna(0).to_numpy(float), expected.reindex(keys).fillna(0).to_numpy(float), rtol=1e-9
    )


def test_the_logs_hold_several_projects(warehouse: Warehouse):
    assert warehouse.executions.project_id.nunique() >= 3


@pytest.mark.usefixtures("corpus")
def test_the_reference_corpus_holds_sources_to_be_reconciled(warehouse: Warehouse):
    assert {"claude_code", "stream_json"} <= set(warehouse.requests.source)
    assert warehouse.executions.reported_usage.notna().any()
    assert (warehouse.requests.kind == "remainder").any()


def test_the_logic_of_models_passes_its_unit_tests(warehouse: Warehouse):
    with warehouse_environment(warehouse.settings, warehouse.dsn):
        build(warehouse.connection, [], "--select", "test_type:unit", command="test")


def test_sources_cover_the_executions_they_saw_and_the_responses_they_gave(warehouse: Warehouse):
    keys = ["project_id", "activity_date", "source_format"]
    mart = warehouse.mart("source_reconciliation", keys)
    executions = warehouse.executions.assign(source_format=warehouse.executions.sources)
    executions["is_sole"] = executions.sources.map(len) == 1
    seen = executions.explode("source_format").groupby(keys)
    assert_same(mart.execution_count, seen.size())
    assert_same(mart.sole_execution_count, seen.is_sole.sum())
    of_day = executions.groupby(keys[:2]).size()
    shares = (seen.size() / of_day.reindex(seen.size().index.droplevel(2)).to_numpy()).sort_index()
    assert_same(mart.execution_coverage, shares)

    requests = warehouse.requests.rename(columns={"source": "source_format"})
    responses, remainders = requests[requests.kind == "response"], requests[requests.kind == "remainder"]
    assert_same(mart.request_count, responses.groupby(keys).size())
    assert_same(mart.total_tokens, responses.groupby(keys).total_tokens.sum())
    assert_same(mart.cost_usd, responses.groupby(keys).cost_usd.sum())
    assert_same(mart.unexplained_tokens, remainders.groupby(keys).total_tokens.sum())
    assert_same(mart.unexplained_cost_usd, remainders.groupby(keys).cost_usd.sum())
    sums = mart.groupby(level=[0, 1])[["total_tokens", "unexplained_tokens"]].sum().sum(axis=1)
    of_all = requests.groupby(keys[:2]).total_tokens.sum()
    assert_same(sums, of_all)


def test_what_headless_runs_report_is_explained_by_responses_or_said_not_to_be(warehouse: Warehouse):
    mart = warehouse.mart("source_reconciliation", ["project_id", "activity_date", "source_format"])
    reported = mart[mart.reported_execution_count > 0]
    assert set(reported.index.get_level_values("source_format")) == {"stream_json"}
    runs = warehouse.executions[warehouse.executions.reported_usage.notna()]
    counts = ("input_tokens", "cache_creation_tokens", "cache_read_tokens", "output_tokens")
    tokens = runs.reported_usage.map(lambda usage: sum(model[count] for model in usage for count in counts))
    costs = runs.reported_usage.map(lambda usage: sum(model["cost_usd"] or 0 for model in usage))
    days = [runs.project_id, runs.activity_date]
    assert_same(reported.reported_tokens.droplevel(2), tokens.groupby(days).sum())
    assert_same(reported.reported_cost_usd.droplevel(2), costs.groupby(days).sum())
    assert reported.report_coverage.between(0, 1).all()
    # What responses hold of the run's own sum is no more than what the responses of the run hold at all.
    responses = warehouse.requests[
        (warehouse.requests.kind == "response") & warehouse.requests.execution_id.isin(runs.id)
    ]
    explained = (reported.reported_tokens - reported.unexplained_tokens).groupby(level=0).sum()
    held = responses.groupby("project_id").total_tokens.sum()
    assert (explained <= held.reindex(explained.index)).all()


def test_workspaces_hold_every_execution_and_sum_the_window(warehouse: Warehouse):
    mart = warehouse.mart("dim_workspaces", ["project_id", "workspace_path"])
    rows = warehouse.executions
    rows = rows.assign(workspace_path=rows.workspace_context.map(lambda context: context.get("cwd", "(none)")))
    everything = rows.groupby(["project_id", "workspace_path"])
    assert list(mart.index) == list(everything.size().sort_index().index)
    assert (mart.first_seen_date == everything.activity_date.min().sort_index()).all()
    assert (mart.last_seen_date == everything.activity_date.max().sort_index()).all()
    first, last = warehouse.window()
    window = rows[(rows.activity_date >= first) & (rows.activity_date <= last)]
    window = window.groupby(["project_id", "workspace_path"])
    assert_same(mart.execution_count, window.size())
    assert_same(mart.total_tokens, window.total_tokens.sum())
    assert_same(mart.cost_usd, window.cost_usd.sum())
    assert_same(mart.active_days, window.activity_date.nunique())


def test_pauses_of_conversations_are_held_against_the_life_of_the_cache(warehouse: Warehouse):
    owners = warehouse.executions[["project_id", "id", "pattern_signature", "activity_date"]]
    responses = warehouse.requests[warehouse.requests.kind == "response"].merge(
        owners, left_on=["project_id", "execution_id"], right_on=["project_id", "id"], suffixes=("", "_of_command")
    )
    apart = (pd.to_datetime(responses.activity_date) - pd.to_datetime(responses.activity_date_of_command)).dt.days
    responses = responses[apart.abs() <= 1].sort_values(["timestamp", "request_key"], kind="stable")
    expected: dict[tuple[str, str], list[float]] = {}
    first, last = warehouse.window()
    conversations = responses.groupby(
        [
            "project_id",
            "activity_date_of_command",
            responses.session_id.fillna(responses.execution_id.astype(str)),
            responses.agent_id.fillna(""),
        ]
    )
    for (project, day, *_), conversation in conversations:
        life, previous = 0, None
        for row in conversation.itertuples():
            if life and first <= day <= last:
                gap = (row.timestamp - previous).total_seconds()
                sums = expected.setdefault((project, row.pattern_signature), [0, 0, 0, 0, 0, 0])
                sums[0] += 1
                sums[1] += gap <= 300
                sums[2] += 300 < gap <= 3600
                sums[3] += gap > 3600
                sums[4] += gap > life
                sums[5] += row.cache_creation_tokens if gap > life else 0
            life = max(life, 3600 if row.cache_creation_1h_tokens else 300 if row.cache_creation_5m_tokens else 0)
            previous = row.timestamp
    assert sum(sums[4] for sums in expected.values()) > 0
    for row in warehouse.mart("command_patterns", ["project_id", "pattern_signature"]).itertuples():
        gaps = row.cache_patterns["gaps"]
        names = ("count", "within_5m", "within_1h", "beyond_1h", "outlived", "rewritten_tokens")
        assert [gaps[name] for name in names] == expected.get(row.Index, [0] * 6), row.Index


def test_cache_patterns_subtract_the_premium_of_writes(warehouse: Warehouse):
    first, last = warehouse.window()
    rows = warehouse.executions
    window = rows[(rows.activity_date >= first) & (rows.activity_date <= last)]
    saved = window.groupby(["project_id", "pattern_signature"]).cache_savings_usd.sum(min_count=1)
    mart = warehouse.mart("command_patterns", ["project_id", "pattern_signature"])
    compared = 0
    for key, usd in saved.dropna().items():
        assert mart.cache_patterns[key]["net_savings_usd"] == pytest.approx(usd, abs=1e-9)
        compared += 1
    assert compared > 10


def test_every_execution_finds_its_date_pattern_and_workspace(warehouse: Warehouse):
    lost = warehouse.connection.execute(
        """
        select count(*) filter (where d.calendar_date is null), count(*) filter (where p.id is null),
            count(*) filter (where w.workspace_id is null), count(*)
        from raw.command_executions as e
        left join marts.dim_dates as d on d.calendar_date = (e.timestamp at time zone 'UTC')::date
        left join marts.command_patterns as p
            on p.project_id = e.project_id and p.pattern_signature = e.pattern_signature
        left join marts.dim_workspaces as w
            on w.project_id = e.project_id
            and w.workspace_path = coalesce(e.workspace_context ->> 'cwd', '(none)')
        """
    ).fetchone()
    assert lost == (0, 0, 0, len(warehouse.executions))


def test_the_calendar_is_that_of_pandas(warehouse: Warehouse):
    mart = warehouse.mart("dim_dates", ["calendar_date"])
    whole = mart[(mart.year_number >= 2020)]
    days = pd.DatetimeIndex(pd.to_datetime(whole.index))
    assert len(days) == len(pd.date_range(days.min(), days.max())) > 2500
    iso = days.isocalendar()
    assert (whole.iso_week.to_numpy() == iso.week.to_numpy()).all()
    assert (whole.iso_year.to_numpy() == iso.year.to_numpy()).all()
    assert (whole.iso_weekday.to_numpy() == iso.day.to_numpy()).all()
    assert (whole.quarter_number.to_numpy() == days.quarter).all()
    assert (whole.day_of_year.to_numpy() == days.day_of_year).all()
    assert (whole.weekday_name.to_numpy() == days.day_name()).all()
    assert (whole.month_name.to_numpy() == days.month_name()).all()
    assert (pd.to_datetime(whole.month_end_date).to_numpy() == (days + pd.offsets.MonthEnd(0)).to_numpy()).all()


def test_metrics_give_through_metricflow_what_the_raw_rows_hold(warehouse: Warehouse, tmp_path: Path):
    project = tmp_path / "dbt_project"
    shutil.copytree(REPOSITORY / "dbt_project", project, ignore=shutil.ignore_patterns("target", "logs"))
    target = project / "target"
    target.mkdir()
    shutil.copy(warehouse.settings.home / "dbt" / "semantic_manifest.json", target)
    shutil.copy(warehouse.settings.home / "dbt" / "manifest.json", target)
    asked = "spend_usd,cache_hit_rate,response_count"
    with warehouse_environment(warehouse.settings, warehouse.dsn):
        environment = {
            **os.environ,
            "DBT_PROJECT_DIR": str(project),
            "DBT_PROFILES_DIR": str(project),
            "DBT_TARGET_PATH": str(target),
            "DBT_LOG_PATH": str(tmp_path),
        }
        outcome = subprocess.run(
            [str(METRICFLOW), "query", "--metrics", asked, "--group-by", "metric_time__day,model_day__project_id",
             "--csv", str(tmp_path / "answer.csv")],
            cwd=project, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    answer = pd.read_csv(tmp_path / "answer.csv")
    answer["metric_time__day"] = pd.to_datetime(answer.metric_time__day).dt.date
    answer = answer.set_index(["model_day__project_id", "metric_time__day"]).sort_index()
    requests = warehouse.requests.assign(
        is_response=warehouse.requests.kind == "response",
        prompt=warehouse.requests.total_tokens - warehouse.requests.output_tokens,
    )
    days = requests.groupby(["project_id", "activity_date"])
    assert_same(answer.spend_usd, days.cost_usd.sum())
    assert_same(answer.response_count, days.is_response.sum())
    assert_same(answer.cache_hit_rate, 100 * days.cache_read_tokens.sum() / days.prompt.sum())


def test_history_keeps_each_day_as_it_was_when_the_raw_rows_are_gone(warehouse: Warehouse):
    connection = warehouse.connection
    before = warehouse.mart("command_pattern_history", ["project_id", "pattern_id", "snapshot_date"])
    patterns = warehouse.mart("command_patterns", ["project_id", "id"])
    _, last = warehouse.window()
    active = patterns[patterns.execution_count > 0]
    assert_same(before.xs(last, level=2).total_tokens, active.total_tokens)
    assert_same(before.xs(last, level=2).cost_usd, active.cost_usd)

    next_day = last + timedelta(days=1)
    with warehouse_environment(warehouse.settings, warehouse.dsn):
        connection.execute("delete from raw.command_executions where timestamp < %s", [last])
        build(connection, [next_day], "--full-refresh", command="run")
    after = warehouse.mart("command_pattern_history", ["project_id", "pattern_id", "snapshot_date"])
    days = after.index.get_level_values("snapshot_date")
    pd.testing.assert_frame_equal(after[days == last], before)
    assert 0 < (days == next_day).sum() < (days == last).sum()
