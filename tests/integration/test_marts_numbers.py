"""The marts' numbers against pandas, which gets the raw rows and nothing that dbt made of them."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt

import numpy as np
import pandas as pd
import psycopg
import pytest
from scipy import stats

from pipelines.database import connect
from pipelines.settings import Settings
from tests.marts import build, frame, warehouse_environment
from tests.raw_rows import Volume, insert

VOLUME = Volume(date(2026, 8, 1), days=34, executions_per_day=250, patterns=20, projects=3)
WINDOW_START = VOLUME.last_date - timedelta(days=29)
COUNTS = ["execution_count", "completed_count", "failed_count", "timeout_count", "cancelled_count", "pending_count"]
TOKENS = ["total_tokens", "input_tokens", "output_tokens", "cached_tokens", "fresh_tokens", "cache_creation_tokens"]
MONEY = ["cost_usd", "fresh_cost_usd", "cache_savings_usd"]


@dataclass(frozen=True)
class Warehouse:
    """A built warehouse and its raw rows as frames."""

    connection: psycopg.Connection
    executions: pd.DataFrame
    requests: pd.DataFrame
    tool_calls: pd.DataFrame

    def mart(self, name: str) -> pd.DataFrame:
        return frame(self.connection, f"select * from marts.{name}")


@pytest.fixture(scope="module")
def warehouse(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    with migrated_database() as dsn, connect(dsn) as connection:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"), database_url=dsn, reader_database_url=None, watched_folders=()
        )
        with warehouse_environment(settings, dsn):
            insert(connection, VOLUME)
            build(connection, [VOLUME.first_date + timedelta(days=n) for n in range(VOLUME.days)], command="run")
        executions = frame(connection, "select * from raw.command_executions")
        executions["activity_date"] = executions.timestamp.dt.tz_convert("UTC").dt.date
        executions["command_base"] = executions.command_base.fillna("(" + executions.kind + ")")
        executions["session_id"] = executions.session_id.fillna("(none)")
        executions["execution_count"] = 1
        for status in ("completed", "failed", "timeout", "cancelled", "pending"):
            executions[f"{status}_count"] = (executions.status == status).astype(int)
        requests = frame(connection, "select * from raw.model_requests")
        requests["activity_date"] = requests.timestamp.dt.tz_convert("UTC").dt.date
        requests["uncached_input_tokens"] = requests.input_tokens
        requests["input_tokens"] += requests.cache_creation_tokens + requests.cache_read_tokens
        requests["total_tokens"] = requests.input_tokens + requests.output_tokens
        requests["request_count"] = 1
        calls = frame(connection, "select * from raw.tool_calls")
        calls["activity_date"] = calls.timestamp.dt.tz_convert("UTC").dt.date
        yield Warehouse(connection, executions, requests, calls)


def assert_sums(mart: pd.DataFrame, rows: pd.DataFrame, keys: list[str], measures: list[str]) -> None:
    """The mart has exactly the groups of the rows, and their sums; a sum of nothing known is unknown."""
    expected = rows.groupby(keys)[measures].sum(min_count=1).sort_index()
    found = mart.set_index(keys)[measures].sort_index()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-12)


def test_daily_command_stats_are_sums_of_executions(warehouse: Warehouse):
    keys = ["project_id", "activity_date", "command_base"]
    mart = warehouse.mart("daily_command_stats")
    assert_sums(mart, warehouse.executions, keys, COUNTS + TOKENS + MONEY + ["execution_time_ms"])

    groups = warehouse.executions.groupby(keys)
    for column, source in (("tokens", "total_tokens"), ("duration", "execution_time_ms")):
        suffix = "_ms" if column == "duration" else ""
        for percent in (50, 95):
            expected = groups[source].quantile(percent / 100).sort_index()
            found = mart.set_index(keys)[f"{column}_p{percent}{suffix}"].sort_index()
            np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float), rtol=1e-12)


def test_rates_are_ratios_of_sums_and_intervals_are_wilsons(warehouse: Warehouse):
    mart = warehouse.mart("daily_command_stats")
    assert not mart.empty
    for row in mart.itertuples():
        finished = row.completed_count + row.failed_count + row.timeout_count + row.cancelled_count
        errors = row.failed_count + row.timeout_count
        if row.input_tokens:
            assert row.cache_hit_rate == pytest.approx(100 * row.cached_tokens / row.input_tokens)
        else:
            assert pd.isna(row.cache_hit_rate)
        if finished == 0:
            assert pd.isna(row.error_rate)
            continue
        share, z = errors / finished, 1.96
        centre = (share + z * z / (2 * finished)) / (1 + z * z / finished)
        half = z / (1 + z * z / finished) * sqrt(share * (1 - share) / finished + z * z / (4 * finished * finished))
        assert row.success_rate == pytest.approx(row.completed_count / finished)
        assert row.error_rate == pytest.approx(share)
        assert row.error_rate_low == pytest.approx(max(0, centre - half), abs=1e-12)
        assert row.error_rate_high == pytest.approx(min(1, centre + half), abs=1e-12)


def test_what_has_no_price_is_unknown_and_marks_the_total_as_a_lower_bound(warehouse: Warehouse):
    rows = warehouse.executions
    rows = rows.assign(unpriced=(rows.cost_status == "unpriced") & (rows.total_tokens > 0))
    rows["bound"] = rows.unpriced | ((rows.total_tokens > 0) & ~rows.is_output_reliable)
    assert rows.unpriced.any()
    assert rows[rows.unpriced].cost_usd.isna().all()
    keys = ["project_id", "session_id"]
    expected = rows.groupby(keys).agg(unpriced=("unpriced", "sum"), bound=("bound", "sum")).sort_index()
    found = warehouse.mart("session_summary").set_index(keys).sort_index()
    assert (found.unpriced_count == expected.unpriced).all()
    assert (found.is_cost_lower_bound == (expected.bound > 0)).all()
    wholly_unpriced = found[(found.unpriced_count == found.execution_count)]
    assert len(wholly_unpriced)
    assert wholly_unpriced.cost_usd.isna().all()


def test_session_summary_holds_each_session_whole(warehouse: Warehouse):
    mart = warehouse.mart("session_summary")
    assert_sums(mart, warehouse.executions, ["project_id", "session_id"], COUNTS + TOKENS + MONEY)
    spans = warehouse.executions.groupby(["project_id", "session_id"]).agg(
        started_at=("timestamp", "min"), ended_at=("ended_at", "max")
    )
    found = mart.set_index(["project_id", "session_id"]).sort_index()
    assert (found.started_at == spans.started_at).all()
    assert (found.ended_at == spans.ended_at).all()


def test_marts_by_request_time_are_sums_of_requests(warehouse: Warehouse):
    measures = ["request_count", "total_tokens", "input_tokens", "uncached_input_tokens", "cache_read_tokens"]
    measures += ["cache_creation_5m_tokens", "cache_creation_1h_tokens", "output_tokens", "cost_usd"]
    measures += ["input_cost_usd", "cache_write_cost_usd", "cache_read_cost_usd", "output_cost_usd"]
    requests = warehouse.requests.assign(activity_hour=warehouse.requests.timestamp.dt.floor("h"))
    assert_sums(warehouse.mart("model_usage_daily"), requests, ["project_id", "activity_date", "model"], measures)
    assert_sums(warehouse.mart("hourly_token_usage"), requests, ["project_id", "activity_hour"], measures)
    assert_sums(warehouse.mart("project_spend_daily"), requests, ["project_id", "activity_date"], measures)


def test_command_costs_give_each_request_to_its_command_and_day(warehouse: Warehouse):
    owners = warehouse.executions.rename(columns={"id": "execution_id"})
    owned = warehouse.requests.drop(columns=["activity_date", "session_id"]).merge(
        owners[["project_id", "execution_id", "activity_date", "pattern_signature"]], on=["project_id", "execution_id"]
    )
    keys = ["project_id", "activity_date", "pattern_signature", "model"]
    measures = ["request_count", "total_tokens", "cost_usd", "cache_write_cost_usd", "output_cost_usd"]
    assert_sums(warehouse.mart("command_costs"), owned, keys, measures)


def test_cache_effectiveness_is_the_ratio_of_sums(warehouse: Warehouse):
    keys = ["project_id", "activity_date", "command_base"]
    mart = warehouse.mart("cache_effectiveness").set_index(keys).sort_index()
    sums = warehouse.executions.groupby(keys).agg(
        {
            "cached_tokens": "sum",
            "input_tokens": "sum",
            "cache_creation_tokens": "sum",
            "cache_creation_1h_tokens": "sum",
        }
    )
    with np.errstate(invalid="ignore"):
        hit = 100 * sums.cached_tokens.to_numpy() / sums.input_tokens.to_numpy()
        share = sums.cache_creation_1h_tokens.to_numpy() / sums.cache_creation_tokens.to_numpy()
    np.testing.assert_allclose(mart.cache_hit_rate.to_numpy(float), hit, rtol=1e-12)
    np.testing.assert_allclose(mart.write_1h_share.to_numpy(float), share, rtol=1e-12)


def test_tool_usage_is_counted_by_outcome(warehouse: Warehouse):
    keys = ["project_id", "activity_date", "tool_name"]
    mart = warehouse.mart("tool_usage_daily").set_index(keys).sort_index()
    groups = warehouse.tool_calls.groupby(keys)
    outcomes = warehouse.tool_calls.groupby([*keys, "status"]).size().unstack(fill_value=0).sort_index()
    for status in ("ok", "error", "rejected", "unanswered"):
        assert (mart[f"{status}_count"] == outcomes[status]).all()
    assert (mart.call_count == groups.size().sort_index()).all()
    durations = groups.duration_ms.quantile(0.95).sort_index()
    np.testing.assert_allclose(mart.duration_p95_ms.to_numpy(float), durations.to_numpy(float), rtol=1e-12)


def test_command_patterns_describe_the_window(warehouse: Warehouse):
    keys = ["project_id", "pattern_signature"]
    mart = warehouse.mart("command_patterns").set_index(keys).sort_index()
    everything = warehouse.executions.groupby(keys)
    assert list(mart.index) == list(everything.size().sort_index().index)
    assert (mart.first_seen_date == everything.activity_date.min().sort_index()).all()
    assert (mart.last_seen_date == everything.activity_date.max().sort_index()).all()

    window = warehouse.executions[warehouse.executions.activity_date >= WINDOW_START].groupby(keys)
    seen = mart[mart.sample_size > 0]
    assert (seen.sample_size == window.size().sort_index()).all()
    assert (seen.execution_count == seen.sample_size).all()
    np.testing.assert_allclose(seen.sd_tokens.to_numpy(float), window.total_tokens.std().sort_index(), rtol=1e-9)
    np.testing.assert_allclose(
        seen.cost_per_success_usd.to_numpy(float),
        (window.cost_usd.sum(min_count=1) / window.completed_count.sum()).sort_index().to_numpy(float),
        rtol=1e-12,
    )


def test_quantiles_of_every_pattern_and_metric_are_within_one_percent(warehouse: Warehouse):
    exact = frame(
        warehouse.connection,
        f"""
        select project_id, pattern_signature,
            percentile_cont(array[0.5, 0.9, 0.95, 0.99]) within group (order by total_tokens) as tokens,
            percentile_cont(array[0.5, 0.9, 0.95, 0.99]) within group (order by cost_usd::float8) as cost,
            percentile_cont(array[0.5, 0.9, 0.95, 0.99]) within group (order by execution_time_ms) as duration
        from raw.command_executions
        where timestamp >= '{WINDOW_START} 00:00:00+00'
        group by project_id, pattern_signature
        """,
    ).set_index(["project_id", "pattern_signature"])
    mart = warehouse.mart("command_patterns").set_index(["project_id", "pattern_signature"])
    compared = 0
    for key, row in exact.iterrows():
        for metric, suffix in (("tokens", ""), ("cost", "_usd"), ("duration", "_ms")):
            for n, percent in enumerate((50, 90, 95, 99)):
                found = mart.loc[key, f"{metric}_p{percent}{suffix}"]
                if row[metric] is None:
                    assert pd.isna(found)
                else:
                    assert found == pytest.approx(row[metric][n], rel=0.01, abs=0), (key, metric, percent)
                    compared += 1
    assert compared > 500


def test_insights_rest_on_thresholds_and_evidence(warehouse: Warehouse):
    mart = warehouse.mart("command_patterns")
    fired = set()
    for row in mart.itertuples():
        rules = {insight["rule_id"]: insight for insight in row.optimization_insights}
        fired |= rules.keys()
        n, hit, mean = row.sample_size, row.cache_hit_rate, row.mean_cost_usd
        assert ("low_cache_hit_rate" in rules) == (n > 3 and hit < 50)
        assert ("best_cache_use" in rules) == (n > 3 and hit > 90)
        assert ("frequent_and_expensive" in rules) == (n > 5 and mean > 0.10)
        assert ("expensive" in rules) == (mean > 0.50)
        for insight in rules.values():
            assert insight["evidence"]["execution_count"] == n
            assert insight["state"] == "open"
    assert "low_cache_hit_rate" in fired

    window = warehouse.executions[warehouse.executions.activity_date >= WINDOW_START]
    missed = (window.cost_usd * (1 - window.cached_tokens / window.input_tokens)).groupby(
        [window.project_id, window.pattern_signature]
    )
    savings = missed.sum()
    for row in mart.itertuples():
        for insight in row.optimization_insights:
            if insight["rule_id"] == "low_cache_hit_rate" and insight["estimated_saving_usd"] is not None:
                expected = savings[row.project_id, row.pattern_signature]
                assert insight["estimated_saving_usd"] == pytest.approx(expected, abs=1e-6)


def test_token_drivers_compare_medians_of_a_level_with_the_rest_of_the_command(warehouse: Warehouse):
    rows = warehouse.executions[
        (warehouse.executions.activity_date >= WINDOW_START) & (warehouse.executions.total_tokens > 0)
    ]
    rows = rows.assign(level=rows.command_features.map(lambda features: features["specificity_level"]))
    compared = 0
    for pattern in warehouse.mart("command_patterns").itertuples():
        of_command = rows[(rows.project_id == pattern.project_id) & (rows.command_base == pattern.command_base)]
        for driver in pattern.token_drivers:
            if driver["feature"] == "specificity_level":
                at_level = of_command.level == driver["level"]
                assert driver["n"] == at_level.sum() >= 5
                assert driver["rest_n"] == (~at_level).sum() >= 5
                assert driver["median_tokens"] == pytest.approx(of_command[at_level].total_tokens.median(), rel=0.0101)
                compared += 1
    assert compared > 10


def test_effects_and_corrected_p_values_of_token_drivers_are_those_of_scipy(warehouse: Warehouse):
    """Exactly those of the sketches' buckets, and within tolerance those of the tokens themselves."""
    rows = warehouse.executions[
        (warehouse.executions.activity_date >= WINDOW_START) & (warehouse.executions.total_tokens > 0)
    ]
    rows = rows.assign(bucket=np.ceil(np.log(rows.total_tokens.astype(float)) / np.log(1.02)))
    patterns = warehouse.mart("command_patterns")
    for project, of_project in patterns[patterns.sample_size > 0].groupby("project_id"):
        drivers = [
            (command, driver)
            for command, of_command in of_project.groupby("command_base")
            for driver in of_command.token_drivers.iloc[0]
        ]
        assert len(drivers) > 20
        for command, driver in drivers:
            of_command = rows[(rows.project_id == project) & (rows.command_base == command)]
            levels = (
                of_command.model_version
                if driver["feature"] == "model"
                else of_command.command_features.map(lambda found, name=driver["feature"]: json_text(found.get(name)))
            )
            here = (levels == driver["level"]) & levels.notna()
            at_level, rest = of_command[here], of_command[levels.notna() & ~here]
            test = stats.mannwhitneyu(at_level.bucket, rest.bucket, method="asymptotic")
            assert driver["p_value"] == pytest.approx(test.pvalue, rel=1e-9)
            effect = 2 * test.statistic / (len(at_level) * len(rest)) - 1
            assert driver["effect_size"] == pytest.approx(effect, abs=1e-12)
            of_tokens = stats.mannwhitneyu(at_level.total_tokens, rest.total_tokens, method="asymptotic")
            assert driver["p_value"] == pytest.approx(of_tokens.pvalue, abs=0.05)
            both = pd.concat([at_level, rest])
            share = np.corrcoef(both.index.isin(at_level.index), np.log(both.total_tokens.astype(float)))[0, 1] ** 2
            assert driver["share_of_variance"] == pytest.approx(share, abs=0.005)
        corrected = stats.false_discovery_control([driver["p_value"] for _, driver in drivers], method="bh")
        np.testing.assert_allclose([driver["q_value"] for _, driver in drivers], corrected, rtol=1e-9)
        assert (corrected < 0.05).any()
        assert (corrected > 0.05).any()


def json_text(value: object) -> str | None:
    """As ->> gives it."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def test_failure_patterns_count_what_came_to_nothing(warehouse: Warehouse):
    window = warehouse.executions[warehouse.executions.activity_date >= WINDOW_START]
    lost = window[window.status.isin(["failed", "timeout", "cancelled"])]
    expected = lost.groupby(["project_id", "pattern_signature", "status"]).total_tokens.agg(["size", "sum"])
    found = {
        (row.project_id, row.pattern_signature, failure["status"]): (failure["count"], failure["wasted_tokens"])
        for row in warehouse.mart("command_patterns").itertuples()
        for failure in row.failure_patterns
    }
    assert found == {key: tuple(row) for key, row in zip(expected.index, expected.to_numpy().tolist(), strict=True)}


def test_a_project_sees_its_own_rows_in_every_mart_and_nobody_elses(warehouse: Warehouse):
    connection = warehouse.connection
    connection.rollback()
    tables = [name for (name,) in connection.execute("select tablename from pg_tables where schemaname = 'marts'")]
    # Those of optimization and evaluation are empty here; tests/security fills them for two tenants.
    marts = [
        mart for mart in tables if connection.execute(f"select exists (select from marts.{mart})").fetchone() == (True,)
    ]
    assert len(marts) >= 15
    with connection.transaction(force_rollback=True):
        token = connection.execute("select app.open_session('project-2')").fetchone()[0]
        for role in ("service_role", "authenticated", "app_user", "app_admin", "app_readonly"):
            with connection.transaction(force_rollback=True):
                connection.execute(f"set local role {role}")
                for mart in marts:
                    assert connection.execute(f"select count(*) from marts.{mart}").fetchone() == (0,), (role, mart)
                connection.execute("select set_config('app.token', %s, true)", [token])
                for mart in marts:
                    if mart == "dim_dates":  # the calendar belongs to no project: whoever sees one sees it
                        assert connection.execute("select count(*) > 3000 from marts.dim_dates").fetchone() == (True,)
                        continue
                    projects = connection.execute(f"select distinct project_id from marts.{mart}").fetchall()
                    assert projects == [("project-2",)], (role, mart)


def test_no_tenant_role_can_read_past_the_policies(warehouse: Warehouse):
    readable = warehouse.connection.execute(
        """
        select c.oid::regclass::text
        from pg_class as c
        cross join unnest(array['service_role', 'authenticated', 'app_user', 'app_admin', 'app_readonly']) as role
        where c.relnamespace::regnamespace::text in ('staging', 'intermediate', 'marts', 'monitoring', 'ops')
            and c.relkind in ('r', 'v', 'm', 'p') and has_table_privilege(role, c.oid, 'select')
            and not (c.relkind = 'r' and c.relrowsecurity and c.relforcerowsecurity
                and exists (select from pg_policy where polrelid = c.oid and polname = 'own_projects'))
            and not (c.relkind = 'v' and coalesce('security_invoker=true' = any(c.reloptions), false))
        """
    ).fetchall()
    assert readable == []


def test_ids_of_patterns_never_change(warehouse: Warehouse):
    rows = warehouse.connection.execute(
        "select project_id, pattern_signature, id from marts.command_patterns"
    ).fetchall()
    assert len({identity for *_, identity in rows}) == len(rows)
    assert all(isinstance(identity, uuid.UUID) for *_, identity in rows)
    known = {(project, signature): str(identity) for project, signature, identity in rows}
    assert known["project-1", "v1:/command-0 <1>"] == "37a80fa8-63b5-e107-a925-d44023cb6782"
