"""The marts of evaluations against pandas, scipy and statsmodels, which get the raw rows and nothing dbt made of them.

The rows are those of a synthetic history with everything that may be unknown, of the sample files and, where it is
there, of the corpus.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from pipelines import ingest
from pipelines.database import connect
from pipelines.samples import agent_evaluations, inspect_logs, promptfoo
from pipelines.settings import REPOSITORY, Settings
from tests.evaluation_history import PREDICTIONS, History, diff_id, insert
from tests.marts import build, warehouse_environment

SELECTION = ("--select", "+path:models/marts/evaluation")
HISTORY = History(date(2026, 1, 1), days=50)
WINDOW_START = HISTORY.dates[-1] - timedelta(days=29)
CORPUS = REPOSITORY.parent / "shared" / "corpus"
STATUSES = ("success", "error", "timeout", "cancelled")
Z = 1e-4
"""Tolerance of intervals: the marts say 1.96 where scipy says 1.959964."""

MEASURES = [
    "attempt_count", *(f"{status}_count" for status in STATUSES), "judged_count", "passed_count", "failed_count",
    "scored_count", "score_sum", "score_squares", "timed_count", "duration_ms", "counted_count", "total_tokens",
    "costed_count", "cost_usd", "unpriced_count", "lower_bound_count", "retry_count", "wasted_cost_usd", "wasted_ms",
]  # fmt: skip


@dataclass(frozen=True)
class World:
    """A built warehouse and its raw rows as frames."""

    connection: psycopg.Connection
    outcomes: pd.DataFrame
    tools: pd.DataFrame
    failures: pd.DataFrame

    def mart(self, name: str, *keys: str) -> pd.DataFrame:
        found = frame(self.connection, f"select * from marts.{name}")
        return found.set_index(list(keys)).sort_index() if keys else found


def frame(connection: psycopg.Connection, query: str) -> pd.DataFrame:
    cursor = connection.execute(query)
    assert cursor.description is not None
    found = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])
    numeric = [column.name for column in cursor.description if column.type_code in (20, 23, 701, 1700)]
    return found.astype(dict.fromkeys(numeric, "float64"))


def load_files(settings: Settings, *paths: Path) -> None:
    report = ingest.run(paths, dsn=settings.database_url, settings=settings, jobs=1)
    assert report.records["outcomes"].inserted > 0


@pytest.fixture(scope="module")
def world(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("evaluations")
    with migrated_database() as dsn:
        settings = Settings(
            home=folder / "home", database_url=dsn, reader_database_url=None, watched_folders=(), device_id="test",
            redaction_key="key of the tests",
        )  # fmt: skip
        agent_evaluations.write(folder / "files" / "storefront")
        inspect_logs.write(folder / "files" / "inspect")
        promptfoo.write(folder / "files" / "promptfoo")
        load_files(settings, folder / "files")
        if CORPUS.is_dir():
            load_files(settings, *(CORPUS / name for name in ("tau_bench", "arc_eval", "inspect", "promptfoo")))
        with warehouse_environment(settings, dsn), connect(dsn) as connection:
            insert(connection, HISTORY)
            build(connection, HISTORY.dates[-1:], *SELECTION, command="run")
            yield World(connection, *raw_frames(connection))


def raw_frames(connection: psycopg.Connection) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    outcomes = frame(
        connection,
        "select o.*, s.config_version_id from raw.outcomes as o join raw.simulations as s "
        "using (project_id, simulation_id)",
    )
    outcomes["activity_date"] = outcomes.execution_time.dt.tz_convert("UTC").dt.date
    verdict = outcomes.is_passed
    broke_off = outcomes.status.isin(["error", "timeout"]) & verdict.isna()
    outcomes["is_failed"] = (verdict == False) | broke_off  # noqa: E712  (NULL is neither)
    outcomes["attempt_count"] = 1.0
    for status in STATUSES:
        outcomes[f"{status}_count"] = (outcomes.status == status).astype(float)
    outcomes["judged_count"] = verdict.notna().astype(float)
    outcomes["passed_count"] = (verdict == True).astype(float)  # noqa: E712
    outcomes["failed_count"] = outcomes.is_failed.astype(float)
    outcomes["score_sum"] = outcomes.reliability_score
    outcomes["score_squares"] = outcomes.reliability_score**2
    outcomes["duration_ms"] = outcomes.execution_time_ms
    outcomes["total_tokens"] = outcomes.tokens_used
    for count, column in (
        ("scored", "reliability_score"), ("timed", "duration_ms"), ("counted", "total_tokens"), ("costed", "cost_usd")
    ):  # fmt: skip
        outcomes[f"{count}_count"] = outcomes[column].notna().astype(float)
    unpriced = (outcomes.cost_status == "unpriced") & (outcomes.tokens_used != 0)
    outcomes["unpriced_count"] = unpriced.astype(float)
    outcomes["lower_bound_count"] = (unpriced | (outcomes.cost_status == "partial")).astype(float)
    outcomes["wasted_cost_usd"] = outcomes.cost_usd.where(outcomes.is_failed)
    outcomes["wasted_ms"] = outcomes.duration_ms.where(outcomes.is_failed)
    keys = ["project_id", "outcome_id"]
    owners = outcomes[[*keys, "config_version_id", "passed_count", "failed_count"]]
    tools = frame(connection, "select * from raw.tool_usage").merge(owners, on=keys)
    failures = frame(connection, "select * from raw.failure_patterns")
    return outcomes, tools, failures


def assert_sums(mart: pd.DataFrame, rows: pd.DataFrame, keys: list[str], measures: list[str]) -> None:
    """The mart has exactly the groups of the rows, and their sums; a sum of nothing known is unknown."""
    expected = rows.groupby(keys)[measures].sum(min_count=1).sort_index()
    assert len(expected) > 0
    pd.testing.assert_frame_equal(mart[measures], expected, check_dtype=False, rtol=1e-9)


def trials(row: Any) -> float:
    """Attempts known to be right or wrong; none where nobody judges."""
    return row.passed_count + row.failed_count if row.judged_count else 0.0


def assert_close(found: Any, expected: float | None, tolerance: float = 1e-9) -> None:
    if expected is None:
        assert pd.isna(found)
    else:
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_versions_scenarios_and_days_are_sums_of_raw_outcomes(world: World):
    keys = ["project_id", "config_version_id"]
    versions = world.mart("config_version_performance", *keys)
    assert_sums(versions[versions.attempt_count > 0], world.outcomes, keys, MEASURES)
    assert len(versions) == world.connection.execute("select count(*) from raw.config_versions").fetchone()[0]

    keys = ["project_id", "scenario_id"]
    scenarios = world.mart("scenario_reliability", *keys)
    assert_sums(scenarios[scenarios.attempt_count > 0], world.outcomes, keys, MEASURES)
    assert len(scenarios) == world.connection.execute("select count(*) from raw.scenarios").fetchone()[0]
    untried = scenarios[scenarios.attempt_count == 0]
    assert untried[["reliability", "mean_score", "cost_usd", "first_activity_date"]].isna().all(axis=None)

    keys = ["project_id", "activity_date", "scenario_id"]
    assert_sums(world.mart("error_rates_daily", *keys), world.outcomes, keys, MEASURES)


@pytest.mark.parametrize("mart", ["config_version_performance", "scenario_reliability", "error_rates_daily"])
def test_rates_are_ratios_of_sums_with_wilsons_interval(world: World, mart: str):
    compared = 0
    for row in world.mart(mart).itertuples():
        n, ended = trials(row), row.success_count + row.error_count + row.timeout_count
        for name, count, total in (
            ("reliability", row.passed_count, n), ("error_rate", row.error_count + row.timeout_count, ended)
        ):  # fmt: skip
            if total == 0:
                assert pd.isna([getattr(row, name + end) for end in ("", "_low", "_high")]).all()
                continue
            low, high = proportion_confint(count, total, method="wilson")
            assert_close(getattr(row, name), count / total)
            assert_close(getattr(row, f"{name}_low"), low, Z)
            assert_close(getattr(row, f"{name}_high"), high, Z)
            compared += 1
        assert_close(row.mean_score, row.score_sum / row.scored_count if row.scored_count else None)
        assert row.unjudged_count == row.attempt_count - row.passed_count - row.failed_count
    assert compared > 0


def test_versions_say_what_a_success_costs_and_how_long_attempts_take(world: World):
    groups = dict(list(world.outcomes.groupby(["project_id", "config_version_id"])))
    for row in world.mart("config_version_performance").itertuples():
        rows = groups.get((row.project_id, row.config_version_id))
        if rows is None:
            assert pd.isna([row.cost_per_success_usd, row.duration_p50_ms, row.reliability_change]).all()
            continue
        cost = rows.cost_usd.sum(min_count=1)
        succeeded = row.passed_count > 0 and not pd.isna(cost)
        assert_close(row.cost_per_success_usd, cost / row.passed_count if succeeded else None)
        assert row.is_cost_lower_bound == (rows.lower_bound_count.sum() > 0)
        assert row.scenario_count == rows.scenario_id.nunique()
        spread = rows.reliability_score.std()
        assert_close(row.sd_score, None if pd.isna(spread) else spread, 1e-7)
        for column, metric, percents in (
            ("duration_ms", "duration_p{}_ms", (50, 90, 95, 99)), ("cost_usd", "cost_p{}_usd", (50, 95)),
            ("total_tokens", "tokens_p{}", (50, 95)),
        ):  # fmt: skip
            for percent in percents:
                exact = rows[column].quantile(percent / 100)
                assert_close(getattr(row, metric.format(percent)), None if pd.isna(exact) else exact, 0.01)


def test_versions_are_compared_with_the_one_evaluated_before(world: World):
    mart = world.mart("config_version_performance")
    compared = 0
    for (_, _), versions in mart[mart.attempt_count > 0].groupby(["project_id", "config_id"]):
        rows = list(versions.sort_values("version_number").itertuples())
        assert pd.isna(rows[0].previous_version_id)
        for before, after in pairwise(rows):
            assert after.previous_version_id == before.config_version_id
            if not (trials(before) and trials(after)):
                assert pd.isna(after.reliability_change)
                continue
            low, high = confint_proportions_2indep(
                after.passed_count, trials(after), before.passed_count, trials(before), method="newcomb"
            )
            assert_close(after.reliability_change, after.reliability - before.reliability)
            assert_close(after.reliability_change_low, low, Z)
            assert_close(after.reliability_change_high, high, Z)
            compared += 1
    assert compared >= 4


def test_changes_are_paired_on_shared_scenarios_and_tested_as_scipy_does(world: World):
    diffs = frame(world.connection, "select * from raw.config_diffs")
    mart = world.mart("config_diff_impact", "project_id", "diff_id", "measure")
    assert len(mart) == 5 * len(diffs)
    sums = world.outcomes.groupby(["project_id", "config_version_id", "scenario_id"])[MEASURES].sum()
    for diff in diffs.itertuples():
        try:
            sides = [sums.loc[(diff.project_id, version)] for version in (diff.version_before, diff.version_after)]
        except KeyError:
            sides = [sums.iloc[:0].droplevel([0, 1])] * 2
        shared = sides[0].index.intersection(sides[1].index)
        before, after = (side.loc[shared] for side in sides)
        is_judged = len(shared) > 0 and before.judged_count.sum() > 0 and after.judged_count.sum() > 0
        for measure, total, count in (
            ("reliability", lambda s: s.passed_count, lambda s: s.passed_count + s.failed_count),
            ("score", lambda s: s.score_sum, lambda s: s.scored_count),
            ("cost_usd", lambda s: s.cost_usd, lambda s: s.costed_count),
            ("duration_ms", lambda s: s.duration_ms, lambda s: s.timed_count),
            ("tokens", lambda s: s.total_tokens, lambda s: s.counted_count),
        ):
            row = mart.loc[(diff.project_id, diff.diff_id, measure)]
            means = [total(side) / count(side).where(count(side) > 0) for side in (before, after)]
            pairs = pd.concat(means, axis=1).dropna().to_numpy(float)
            pairs = pairs[:0] if measure == "reliability" and not is_judged else pairs
            assert row.scenario_count == len(pairs)
            assert row.better_count + row.worse_count + row.same_count == len(pairs)
            changes = pairs[:, 1] - pairs[:, 0]
            assert_close(row.mean_change, changes.mean() if len(pairs) else None)
            if len(pairs) < 2 or np.ptp(changes) < 1e-12:
                assert pd.isna([row.p_value, row.mean_change_low]).all()
                continue
            test = stats.ttest_rel(pairs[:, 1], pairs[:, 0])
            interval = test.confidence_interval(0.95)
            assert_close(row.p_value, test.pvalue, 1e-8)
            assert_close(row.mean_change_low, interval.low, 1e-8)
            assert_close(row.mean_change_high, interval.high, 1e-8)
            better = changes > 0 if measure in ("reliability", "score") else changes < 0
            assert row.better_count == (better & (changes != 0)).sum()


def test_predictions_are_held_against_what_was_measured(world: World):
    mart = world.mart("config_diff_impact", "project_id", "diff_id", "measure")
    for number, prediction in PREDICTIONS.items():
        for measure in ("reliability", "score", "cost_usd", "duration_ms", "tokens"):
            row = mart.loc[("north", diff_id(number), measure)]
            expected = prediction.get(measure)
            if not isinstance(expected, float):
                assert pd.isna([row.predicted_change, row.prediction_error, row.is_prediction_plausible]).all()
                continue
            assert row.predicted_change == expected
            assert_close(row.prediction_error, row.mean_change - expected)
            assert row.is_prediction_plausible == (row.mean_change_low <= expected <= row.mean_change_high)


def test_flakiness_and_drift_are_within_versions(world: World):
    rows = world.outcomes[(world.outcomes.passed_count + world.outcomes.failed_count) > 0]
    keys = ["project_id", "scenario_id"]
    judged = world.outcomes.groupby([*keys, "config_version_id"]).judged_count.sum()
    groups = dict(list(rows.groupby(keys)))
    tested = 0
    for row in world.mart("scenario_reliability").itertuples():
        differing = pairs = 0
        tables = []
        for version, attempts in groups.get((row.project_id, row.scenario_id), rows[:0]).groupby("config_version_id"):
            if not judged[(row.project_id, row.scenario_id, version)]:
                continue
            passed = attempts.passed_count.to_numpy()
            differing += (passed[:, None] != passed[None, :]).sum()
            pairs += len(passed) * (len(passed) - 1)
            is_recent = (attempts.activity_date >= WINDOW_START) & (attempts.activity_date <= HISTORY.dates[-1])
            recent, earlier = passed[is_recent], passed[~is_recent]
            if len(recent) and len(earlier):
                tables.append([[side.sum(), len(side) - side.sum()] for side in (recent, earlier)])
        assert_close(row.flakiness, differing / pairs if pairs else None)
        assert row.compared_version_count == len(tables)
        if not tables:
            assert pd.isna(row.drift)
            continue
        weights = [sum(map(sum, table)) for table in tables]
        weights = [sum(t[0]) * sum(t[1]) / weight for t, weight in zip(tables, weights, strict=True)]
        changes = [t[0][0] / sum(t[0]) - t[1][0] / sum(t[1]) for t in tables]
        assert_close(row.drift, np.average(changes, weights=weights))
        if all(0 in np.array(t).sum(axis=0) for t in tables):
            assert pd.isna(row.drift_p_value)
            continue
        test = StratifiedTable([np.array(table, dtype=float) for table in tables]).test_null_odds(correction=False)
        assert_close(row.drift_p_value, test.pvalue, 1e-8)
        tested += 1
    assert tested >= 10


def test_tools_are_sums_of_raw_calls_with_mergeable_sketches(world: World):
    keys = ["project_id", "config_version_id", "tool_name"]
    tools = world.tools.assign(
        call_count=1.0, timed_count=world.tools.duration_ms.notna().astype(float),
        costed_count=world.tools.cost_usd.notna().astype(float),
        **{f"{status}_count": (world.tools.status == status).astype(float) for status in ("ok", "error", "unanswered")},
    )  # fmt: skip
    mart = world.mart("tool_performance", *keys)
    assert_sums(mart, tools, keys, [
        "call_count", "ok_count", "error_count", "unanswered_count", "timed_count", "duration_ms", "costed_count",
        "cost_usd",
    ])  # fmt: skip
    for key, calls in tools.groupby(keys):
        row = mart.loc[key]
        attempts = calls.drop_duplicates("outcome_id")
        assert row.outcome_count == len(attempts)
        assert row.passed_outcome_count == attempts.passed_count.sum()
        assert row.failed_outcome_count == attempts.failed_count.sum()
        durations = calls.duration_ms.dropna()
        assert sum(row.duration_observations or []) == len(durations)
        for percent in (50, 90, 95, 99):
            exact = durations.quantile(percent / 100)
            assert_close(row[f"duration_p{percent}_ms"], None if pd.isna(exact) else exact, 0.01)


def test_frequent_sequences_are_those_of_the_calls_in_their_order(world: World):
    found: dict[tuple[Any, ...], dict[tuple[str, ...], int]] = {}
    for (project, version, _), calls in world.tools.groupby(["project_id", "config_version_id", "outcome_id"]):
        names = list(calls.sort_values("call_number").tool_name)
        for length in (2, 3):
            for start in range(len(names) - length + 1):
                sequence = tuple(names[start : start + length])
                counts = found.setdefault((project, version, sequence[0]), {})
                counts[sequence] = counts.get(sequence, 0) + 1
    mart = world.mart("tool_performance", "project_id", "config_version_id", "tool_name")
    for key, row in mart.iterrows():
        expected = found.get(key, {})
        listed = {tuple(entry["sequence"]): entry["occurrences"] for entry in row.frequent_sequences}
        assert listed.items() <= expected.items()
        assert sorted(listed.values(), reverse=True) == sorted(expected.values(), reverse=True)[:10]


def test_clusters_hold_every_failure_and_share_out_every_wasted_dollar(world: World):
    keys = ["project_id", "failure_category", "error_template"]
    failures = world.failures.assign(error_template=world.failures.error_template.replace("", None))
    failures["error_template"] = failures.error_template.fillna(failures.failure_type)
    outcomes = world.outcomes[["project_id", "outcome_id", "status", "is_failed", "cost_usd", "duration_ms"]]
    hits = failures.drop_duplicates([*keys, "outcome_id"])[[*keys, "outcome_id"]]
    silent = outcomes[outcomes.is_failed & ~outcomes.outcome_id.isin(failures.outcome_id)]
    ended = silent.status == "success"
    hits = pd.concat([hits, silent[["project_id", "outcome_id"]].assign(
        failure_category=np.where(ended, "wrong_answer", "unknown"),
        error_template=np.where(ended, "(judged wrong, no error)", "(no error recorded)"),
    )])  # fmt: skip
    hits = hits.merge(outcomes, on=["project_id", "outcome_id"])
    shares = hits.groupby(["project_id", "outcome_id"]).outcome_id.transform("size")
    hits["wasted_cost_usd"] = hits.cost_usd.where(hits.is_failed) / shares
    hits["wasted_minutes"] = hits.duration_ms.where(hits.is_failed) / shares / 60000
    hits["outcome_count"], hits["failed_outcome_count"] = 1.0, hits.is_failed.astype(float)
    mart = world.mart("failure_summary", *keys)
    assert_sums(mart, hits, keys, ["outcome_count", "failed_outcome_count", "wasted_cost_usd", "wasted_minutes"])

    by_cluster = failures.groupby(keys).agg(
        failure_count=("pattern_id", "size"), recovered_count=("recovery_successful", "sum")
    )
    noted = mart[mart.failure_count > 0]
    assert (noted[["failure_count", "recovered_count"]] == by_cluster.sort_index()).all(axis=None)
    assert mart.failure_id.is_unique
    for _, clusters in mart.groupby("project_id"):
        dearest_first = clusters.sort_values("cost_rank").wasted_cost_usd.fillna(-1)
        longest_first = clusters.sort_values("time_rank").wasted_minutes.fillna(-1)
        assert dearest_first.is_monotonic_decreasing
        assert longest_first.is_monotonic_decreasing


def test_the_corpus_is_among_what_is_compared(world: World, corpus: Path):
    assert {"tau_bench", "test_eval_log"} <= set(world.mart("config_version_performance").project_id)


def test_students_t_is_scipys(world: World):
    for degrees in (1, 2, 3, 4, 7, 30, 31, 100, 999, 5000):
        (critical,) = world.connection.execute("select app.student_t_critical(%s)", [degrees]).fetchone()
        assert critical == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)
        for t in (0.0, 0.01, -0.7, 1.0, 2.5, -6.0, 40.0):
            (p,) = world.connection.execute("select app.student_t_p_value(%s, %s)", [t, degrees]).fetchone()
            assert p == pytest.approx(2 * stats.t.sf(abs(t), degrees), rel=1e-9, abs=1e-12)
