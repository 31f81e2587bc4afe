"""The marts of optimization against pandas, scipy and statsmodels, which get the raw rows and nothing dbt made of them.

One warehouse holds the sample runs, the corpus where it is there (project ``corpus``), and runs made for what neither
has: ties, scales without bounds, scores to be minimised, minibatches, tokens and costs that are known in part. The
last tests change it: what a build makes of the changes must be what a build from scratch makes.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.numeric import FloatLoader
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from pipelines import ingest
from pipelines.database import connect
from pipelines.samples import optimizations
from pipelines.settings import REPOSITORY, Settings
from tests.marts import build, contents, differing, warehouse_environment
from tests.optimization import PROJECT, add_run, insert, register, sample_row

SELECTION = ("--select", "+path:models/marts/optimization")
MARTS = (
    "optimization_run_analytics",
    "optimization_leaderboard",
    "optimization_progress",
    "optimizer_comparison",
    "optimization_daily_trend",
)
CORPUS = REPOSITORY.parent / "shared" / "corpus"
COMPARISON = ["project_id", "task", "metric", "dataset_hash", "scale", "direction"]
BOARD = {"status": "completed", "task": "sums", "dataset_hash": "forty"}


@dataclass(frozen=True)
class Warehouse:
    """A built warehouse and its raw rows as frames, numbers as floats."""

    dsn: str
    connection: psycopg.Connection
    runs: pd.DataFrame
    iterations: pd.DataFrame
    samples: pd.DataFrame

    def mart(self, name: str) -> pd.DataFrame:
        return frame(self.connection, f"select * from marts.{name}")


def frame(connection: psycopg.Connection, query: str) -> pd.DataFrame:
    cursor = connection.execute(query)
    assert cursor.description is not None
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


@pytest.fixture(scope="module")
def warehouse(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("optimization")
    with migrated_database() as dsn, connect(dsn, autocommit=True) as connection:
        settings = Settings(
            home=folder / "home", database_url=dsn, reader_database_url=None, watched_folders=(),
            device_id="test-device", redaction_key="key of the tests",
        )  # fmt: skip
        optimizations.write(folder / "runs")
        assert ingest.run([folder / "runs"], dsn=dsn, settings=settings).problems == []
        if CORPUS.is_dir():
            ingest.run([CORPUS / "dspy"], dsn=dsn, settings=settings, project="corpus")
        register(connection, PROJECT)
        add_comparable_runs(connection)
        add_odd_runs(connection)
        connection.adapters.register_loader("numeric", FloatLoader)
        with warehouse_environment(settings, dsn):
            build(connection, [], *SELECTION)
            yield Warehouse(dsn, connection, *raw_frames(connection))


def raw_frames(connection: psycopg.Connection) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Runs with normalised scores, iterations and samples, worked out from what the sources wrote."""
    runs = frame(
        connection,
        """
        select project_id, id as run_id, optimizer_type, status, task, config ->> 'metric' as metric, dataset_hash,
            evaluation_kind, score_direction, lower(score_scale) as low, upper(score_scale) as high, initial_score_raw,
            final_score_raw, start_time, end_time, created_at, reported_tokens, reported_cost_usd, samples_evaluated,
            successful_samples
        from raw.optimization_runs
        """,
    )
    iterations = frame(
        connection,
        "select project_id, run_id, iteration, evaluation_kind, score_raw, tokens_used, cost_usd, "
        "iteration_start_time, iteration_end_time from raw.optimization_iterations order by 1, 2, 3",
    )
    samples = frame(
        connection,
        "select project_id, run_id, iteration, sample_index, sample_key, input::text as input, score_raw, "
        "lower(score_scale) as low, upper(score_scale) as high, is_correct from raw.optimization_samples",
    )
    samples["score"] = (samples.score_raw - samples.low) / (samples.high - samples.low)
    samples["score"] = samples.score.fillna(samples.is_correct.astype("Float64").astype("float64"))
    samples["sample"] = samples.sample_key.fillna(samples.input)

    numbers = ["low", "high", "initial_score_raw", "final_score_raw", "reported_tokens", "reported_cost_usd"]
    runs[numbers] = runs[numbers].astype("float64")
    span, is_minimised = runs.high - runs.low, runs.score_direction == "minimize"
    for name in ("initial", "final"):
        raw = runs[f"{name}_score_raw"]
        runs[f"{name}_score"] = np.where(is_minimised, runs.high - raw, raw - runs.low) / span
    runs["improvement"] = runs.final_score - runs.initial_score
    totals = iterations.groupby(["project_id", "run_id"]).agg(
        iterations=("iteration", "size"),
        full=("evaluation_kind", lambda kinds: (kinds == "full").sum()),
        tokens=("tokens_used", lambda used: used.sum(min_count=1)),
        cost=("cost_usd", lambda usd: usd.sum(min_count=1)),
        priced=("cost_usd", "count"),
    )
    runs = runs.merge(totals, how="left", left_on=["project_id", "run_id"], right_index=True)
    runs["total_tokens"] = runs[["tokens", "reported_tokens"]].max(axis=1)
    runs["total_cost"] = runs[["cost", "reported_cost_usd"]].max(axis=1)
    runs["is_lower_bound"] = runs.total_cost.isna() | (runs.iterations.fillna(0) > runs.priced.fillna(0))
    runs["duration_ms"] = (runs.end_time - runs.start_time) / pd.Timedelta(milliseconds=1)
    runs["began"] = pd.to_datetime(runs.start_time.fillna(runs.created_at), utc=True)
    runs["run_date"] = runs.began.dt.date
    # What compares: bounded scales on 0..1, others as they are, turned so that more is better.
    is_bounded = span.notna()
    sign = np.where(is_minimised, -1, 1)
    runs["scale"] = np.where(is_bounded, "[0,1]", "unbounded")
    runs["direction"] = np.where(is_bounded, "maximize", runs.score_direction)
    runs["score"] = np.where(is_bounded, runs.final_score, sign * runs.final_score_raw).round(12)
    runs["gain"] = np.where(is_bounded, runs.improvement, sign * (runs.final_score_raw - runs.initial_score_raw))
    return runs, iterations, samples


def comparable(warehouse: Warehouse) -> pd.DataFrame:
    runs = warehouse.runs
    is_alike = runs.task.notna() & runs.metric.notna() & runs.dataset_hash.notna()
    return runs[(runs.status == "completed") & (runs.evaluation_kind == "full") & runs.score.notna() & is_alike]


def add_comparable_runs(connection: psycopg.Connection) -> None:
    """Three optimizers on forty samples; of some samples one side has no score, of one run no baseline."""
    chance = random.Random(7)
    for optimizer, quality, runs in (("alpha", 0.9, 3), ("beta", 0.6, 2), ("gamma", 0.62, 1)):
        for number in range(runs):
            outcomes = {
                iteration: [chance.random() < (0.5 if iteration == 0 else quality) for _ in range(40)]
                for iteration in (0, 1)
            }
            scores = {iteration: 100 * sum(found) / 40 for iteration, found in outcomes.items()}
            has_baseline = (optimizer, number) != ("beta", 1)
            run = add_run(
                connection, **BOARD, optimizer_type=optimizer, config={"metric": "exact"},
                initial_score_raw=scores[0] if has_baseline else None, final_score_raw=scores[1],
                reported_tokens=9_000 if optimizer == "alpha" else None,
                reported_cost_usd=2 if optimizer == "beta" else None,
            )  # fmt: skip
            add_iterations(
                connection, run,
                [(n, "full", scores[n], 2_000 if optimizer != "gamma" else None, 0.25 if number == 0 else None)
                 for n in (0, 1)],
            )  # fmt: skip
            insert(
                connection, "optimization_samples",
                [
                    sample_row(run, n, place, sample_key=f"sample-{place}", is_correct=right)
                    for n, found in outcomes.items() for place, right in enumerate(found)
                    if not (optimizer == "beta" and place < 5)
                ],
            )  # fmt: skip


def add_odd_runs(connection: psycopg.Connection) -> None:
    """Ties, an unbounded scale to be minimised, minibatches and scores that nothing compares with."""
    for optimizer, score in (("alpha", 70), ("beta", 70), ("beta", 90), ("gamma", 10)):
        add_run(
            connection, **{**BOARD, "task": "ties"}, config={"metric": "exact"}, optimizer_type=optimizer,
            final_score_raw=score,
        )  # fmt: skip
    for score in (12.5, 3, 40):
        run = add_run(
            connection, **{**BOARD, "task": "loss"}, config={"metric": "loss"}, score_scale="(,)",
            score_direction="minimize", initial_score_raw=50, final_score_raw=score,
        )  # fmt: skip
        rows = [(0, "full", 50, None, None), (1, "full", score + 1, 10, None), (3, "full", score, 30, 0.5)]
        add_iterations(connection, run, rows, scale="(,)", direction="minimize")
    mini = add_run(connection, **BOARD, config={"metric": "exact"}, final_score_raw=100, evaluation_kind="minibatch")
    add_iterations(connection, mini, [(0, "minibatch", 100, 5, 0.1), (1, "minibatch", 60, 5, None)])
    add_run(connection, status="failed", final_score_raw=55, samples_evaluated=12, successful_samples=3)
    add_run(connection, status="running", start_time="2026-10-01T23:59:00Z")
    add_run(connection, **{**BOARD, "dataset_hash": None}, config={"metric": "exact"}, final_score_raw=99)


def add_iterations(
    connection: psycopg.Connection, run: UUID, rows: list[tuple], *, scale: str = "[0,100]", direction: str = "maximize"
) -> None:
    names = ("iteration", "evaluation_kind", "score_raw", "tokens_used", "cost_usd")
    fixed = {"project_id": PROJECT, "run_id": run, "score_scale": scale, "score_direction": direction}
    insert(connection, "optimization_iterations", [fixed | dict(zip(names, row, strict=True)) for row in rows])


def assert_sums(mart: pd.DataFrame, groups: Any, expected: dict[str, pd.Series]) -> None:
    """The mart has exactly the groups, and the sums of each; a sum of nothing known is unknown."""
    keys = groups.keys
    found = mart.set_index(keys).sort_index()
    assert list(found.index) == list(groups.size().sort_index().index)
    for name, values in expected.items():
        np.testing.assert_allclose(
            found[name].to_numpy(float), values.sort_index().to_numpy(float), rtol=1e-9, atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize(
    ("mart", "keys"),
    [
        ("optimization_run_analytics", ["project_id", "optimizer_type", "status"]),
        ("optimization_daily_trend", ["project_id", "run_date", "optimizer_type"]),
    ],
)
def test_run_measures_are_sums_and_counts_of_raw_runs(warehouse: Warehouse, mart: str, keys: list[str]):
    runs = warehouse.runs.copy()
    is_full = runs.evaluation_kind == "full"
    runs["full_score"] = runs.final_score.where(is_full)
    runs["minibatch_score"] = runs.final_score.where(~is_full)
    runs["full_improvement"] = runs.improvement.where(is_full)
    for status in ("completed", "failed", "cancelled"):
        runs[status] = runs.status == status
    groups = runs.groupby(keys)

    def total(column: str) -> pd.Series:
        return groups[column].sum(min_count=1)

    found = warehouse.mart(mart)
    assert_sums(
        found,
        groups,
        {
            "total_runs": groups.size(),
            **{f"{status}_runs": groups[status].sum() for status in ("completed", "failed", "cancelled")},
            "scored_runs": groups.full_score.count(),
            "minibatch_scored_runs": groups.minibatch_score.count(),
            "final_score_sum": total("full_score"),
            "max_final_score": groups.full_score.max(),
            "avg_final_score": groups.full_score.mean(),
            "improvement_runs": groups.full_improvement.count(),
            "improvement_sum": total("full_improvement"),
            "avg_improvement": groups.full_improvement.mean(),
            "timed_runs": groups.duration_ms.count(),
            "total_duration_ms": total("duration_ms"),
            "total_iterations": groups.iterations.sum(),
            "total_full_evaluations": groups.full.sum(),
            "total_samples_evaluated": total("samples_evaluated"),
            "total_successful_samples": total("successful_samples"),
            "counted_runs": groups.total_tokens.count(),
            "total_tokens_used": total("total_tokens"),
            "priced_runs": groups.total_cost.count(),
            "lower_bound_runs": groups.is_lower_bound.sum(),
            "total_cost_usd": total("total_cost"),
        },
    )
    if mart == "optimization_daily_trend":
        for row in found.itertuples():
            finished = row.total_runs - row.unfinished_runs
            low, high = proportion_confint(row.completed_runs, finished, method="wilson") if finished else (None, None)
            expected = [row.completed_runs / finished, low, high] if finished else [None] * 3
            measured = [row.success_rate, row.success_rate_low, row.success_rate_high]
            np.testing.assert_allclose(np.array(measured, float), np.array(expected, float), rtol=1e-4, atol=1e-9)


def test_leaderboards_hold_what_compares_and_rank_it(warehouse: Warehouse):
    runs = comparable(warehouse).copy()
    ranks = runs.groupby(COMPARISON).score.rank(method="min", ascending=False)
    runs["rank"] = ranks
    runs["behind"] = runs.groupby(COMPARISON).score.transform("max") - runs.score
    found = warehouse.mart("optimization_leaderboard").set_index("run_id").sort_index()
    expected = runs.set_index("run_id").sort_index()
    assert list(found.index) == list(expected.index)
    assert found.leaderboard_rank.tolist() == expected["rank"].astype(int).tolist()
    np.testing.assert_allclose(found.behind_best, expected.behind, atol=1e-12)
    np.testing.assert_allclose(found.score_gain.to_numpy(float), expected.gain.to_numpy(float), rtol=1e-9, atol=1e-12)
    sizes = runs.groupby(COMPARISON).size()
    assert sorted(found.groupby("comparison_id").compared_runs.first()) == sorted(sizes)
    for _, board in found.groupby("comparison_id"):
        assert sorted(board.place) == list(range(1, len(board) + 1))
    losses = found[found.task == "loss"].sort_values("place")
    assert losses.score.tolist() == [3, 12.5, 40]
    assert sorted(found[found.task == "ties"].leaderboard_rank) == [1, 2, 2, 4]


def test_progress_is_the_best_full_score_and_the_cost_so_far(warehouse: Warehouse):
    keys = ["project_id", "run_id"]
    runs = warehouse.runs.set_index(keys)
    found = warehouse.mart("optimization_progress").set_index([*keys, "iteration"]).sort_index()
    expected = warehouse.iterations.join(runs[["score_direction", "low", "high", "initial_score"]], on=keys)
    expected = expected.sort_values([*keys, "iteration"])
    assert list(found.index) == list(expected.set_index([*keys, "iteration"]).index)
    is_minimised = expected.score_direction == "minimize"
    score_raw = expected.score_raw.astype(float)
    directed = score_raw.where(~is_minimised, -score_raw)
    score = np.where(is_minimised, expected.high - score_raw, score_raw - expected.low) / (expected.high - expected.low)
    expected["full_score"] = np.where(expected.evaluation_kind == "full", score, np.nan)
    expected["mini_score"] = np.where(expected.evaluation_kind == "full", np.nan, score)
    expected["full_directed"] = directed.where(expected.evaluation_kind == "full")
    groups = expected.groupby(keys)

    def so_far(column: str, how: str) -> pd.Series:
        """Cumulated over a run; what is unknown keeps what was known before."""
        return getattr(groups[column], how)().groupby([expected[key] for key in keys]).ffill()

    best = so_far("full_score", "cummax")
    cost = so_far("cost_usd", "cumsum")
    tokens = so_far("tokens_used", "cumsum")
    directed_best = so_far("full_directed", "cummax")
    columns = {
        "place": groups.cumcount() + 1,
        "best_score": best,
        "best_score_raw": directed_best.where(~is_minimised, -directed_best),
        "best_minibatch_score": so_far("mini_score", "cummax"),
        "gain_so_far": best - expected.initial_score,
        "cost_so_far_usd": cost,
        "tokens_so_far": tokens,
        "unpriced_so_far": expected.cost_usd.isna().groupby([expected[key] for key in keys]).cumsum(),
        "gain_per_usd": (best - expected.initial_score) / cost.where(cost != 0),
        "gain_per_thousand_tokens": 1000 * (best - expected.initial_score) / tokens.where(tokens != 0),
    }
    for name, values in columns.items():
        np.testing.assert_allclose(
            found[name].to_numpy(float), values.to_numpy(float), rtol=1e-9, atol=1e-12, err_msg=name
        )


def first_evaluations(warehouse: Warehouse, runs: pd.DataFrame, score: str) -> pd.DataFrame:
    """Samples of the earliest full evaluation of each run whose score is the one named."""
    full = warehouse.iterations[warehouse.iterations.evaluation_kind == "full"]
    full = full.merge(runs[["run_id", score]], on="run_id")
    first = full[full.score_raw.astype(float) == full[score]].groupby("run_id").iteration.min().reset_index()
    samples = warehouse.samples.merge(first, on=["run_id", "iteration"]).dropna(subset=["sample", "score"])
    return samples.groupby(["run_id", "sample"]).score.mean().reset_index()


def test_optimizers_are_compared_as_scipy_and_statsmodels_compare_them(warehouse: Warehouse):
    runs = comparable(warehouse)
    found = warehouse.mart("optimizer_comparison")
    final = first_evaluations(warehouse, runs, "final_score_raw").merge(runs, on="run_id", suffixes=("", "_run"))
    baseline = first_evaluations(warehouse, runs, "initial_score_raw")
    both = final.merge(baseline, on=["run_id", "sample"], suffixes=("", "_before"))
    both["difference"] = both.score - both.score_before
    keys = [*COMPARISON, "optimizer_type"]
    means = final.groupby([*keys, "sample"]).score.mean()
    changes = both.groupby([*keys, "sample"]).difference.mean()
    measured = found.rename(columns={"score_scale": "scale", "score_direction": "direction"})
    measured["scale"] = measured.scale.replace("(,)", "unbounded")
    tested = 0
    for row in measured.itertuples():
        key = tuple(getattr(row, name) for name in keys)
        if row.compared_with == "(baseline)":
            differences = changes.get(key, pd.Series(dtype=float))
        else:
            one, other = (means.get((*key[:-1], side)) for side in (row.optimizer_type, row.compared_with))
            differences = (one - other).dropna() if one is not None and other is not None else pd.Series(dtype=float)
        assert row.shared_samples == len(differences), key
        assert (row.won_samples, row.lost_samples) == ((differences > 0).sum(), (differences < 0).sum())
        if len(differences) < 6 or differences.std() == 0:
            assert pd.isna(row.p_value)
            continue
        tested += 1
        exact = stats.ttest_1samp(differences, 0)
        low, high = exact.confidence_interval()
        assert row.mean_difference == pytest.approx(differences.mean(), abs=1e-12)
        assert row.p_value == pytest.approx(exact.pvalue, abs=1e-3)
        assert row.difference_low == pytest.approx(low, abs=3e-3 * (high - low))
        assert row.difference_high == pytest.approx(high, abs=3e-3 * (high - low))
        assert (row.difference_low > 0 or row.difference_high < 0) == (row.p_value < 0.05)
    assert tested >= 10
    for _, questions in found[found.p_value.notna()].groupby("project_id"):
        once = questions[
            (questions.compared_with == "(baseline)") | (questions.optimizer_type < questions.compared_with)
        ]
        corrected = multipletests(once.p_value, method="fdr_bh")[1]
        np.testing.assert_allclose(once.q_value, corrected, rtol=1e-9)
        assert set(questions.q_value) == set(once.q_value)
    better = found[(found.task == "sums") & (found.optimizer_type == "alpha")].set_index("compared_with")
    assert better.is_significant.tolist() == [True] * 3
    assert better.loc["beta"].shared_samples == 35


def test_gains_are_divided_by_what_the_same_runs_cost(warehouse: Warehouse):
    runs = comparable(warehouse)
    keys = [*COMPARISON, "optimizer_type"]
    found = warehouse.mart("optimizer_comparison").query("compared_with == '(baseline)'")
    found = found.rename(columns={"score_scale": "scale", "score_direction": "direction"})
    found["scale"] = found.scale.replace("(,)", "unbounded")
    optimizer_tokens = (runs.reported_tokens - runs.tokens).where(runs.reported_tokens >= runs.tokens)
    runs = runs.assign(optimizer_tokens=optimizer_tokens)
    groups = runs.groupby(keys)

    def gain_over(column: str) -> pd.Series:
        known = runs[runs[column].notna() & runs.gain.notna()].groupby(keys)
        return (known.gain.sum() / known[column].sum()).reindex(groups.size().index)

    assert_sums(
        found,
        groups,
        {
            "run_count": groups.size(),
            "score_sum": groups.score.sum() * np.where(groups.direction.first() == "minimize", -1, 1),
            "gain_sum": groups.gain.sum(min_count=1),
            "gain_runs": groups.gain.count(),
            "total_cost_usd": groups.total_cost.sum(min_count=1),
            "total_tokens": groups.total_tokens.sum(min_count=1),
            "evaluation_tokens": groups.tokens.sum(min_count=1),
            "optimizer_tokens": groups.optimizer_tokens.sum(min_count=1),
            "gain_per_usd": gain_over("total_cost"),
            "gain_per_thousand_tokens": 1000 * gain_over("total_tokens"),
            "gain_per_thousand_optimizer_tokens": 1000 * gain_over("optimizer_tokens"),
        },
    )
    assert found.optimizer_tokens.notna().any()


def test_runs_of_the_corpus_are_in_the_marts(warehouse: Warehouse, corpus: Path):
    analytics = warehouse.mart("optimization_run_analytics").query("project_id == 'corpus'")
    assert analytics.total_runs.sum() == (warehouse.runs.project_id == "corpus").sum() > 0
    progress = warehouse.mart("optimization_progress").query("project_id == 'corpus'")
    assert len(progress) == (warehouse.iterations.project_id == "corpus").sum() > 0


def test_an_analyst_sees_the_rows_of_their_project_only(warehouse: Warehouse):
    login = f"analyst_{os.urandom(4).hex()}"
    owner = warehouse.connection
    owner.execute(f"create role {login} login noinherit")
    owner.execute(f"grant app_readonly to {login}")
    owner.execute("insert into app.project_members values ('alpha', %s)", [login])
    try:
        with connect(make_conninfo(warehouse.dsn, user=login), role="app_readonly", autocommit=True) as analyst:
            for mart in MARTS:
                everything = owner.execute(f"select count(*) from marts.{mart} where project_id = 'alpha'").fetchone()
                found = analyst.execute(
                    f"select count(*), count(*) filter (where project_id <> 'alpha') from marts.{mart}"
                ).fetchone()
                assert found == (*everything, 0)
                assert found[0] > 0
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    analyst.execute(f"delete from marts.{mart}")
    finally:
        owner.execute("delete from app.project_members where member_role = %s", [login])
        owner.execute(f"drop role {login}")


def test_changes_of_runs_leave_what_a_build_from_scratch_makes(warehouse: Warehouse):
    connection = warehouse.connection
    before = contents(connection)
    build(connection, [], *SELECTION, command="run")
    assert differing(before, contents(connection)) == [], "without changes nothing changes"

    board = "select id from raw.optimization_runs where task = 'sums' and optimizer_type = '{}' order by id limit 1"
    (sampled,) = connection.execute(board.format("gamma")).fetchone()
    connection.execute(
        "update raw.optimization_samples set is_correct = not is_correct where run_id = %s and iteration = 1", [sampled]
    )
    (deleted,) = connection.execute(board.format("alpha")).fetchone()
    connection.execute("delete from raw.optimization_runs where id = %s", [deleted])
    (moved,) = connection.execute(board.format("beta")).fetchone()
    connection.execute("update raw.optimization_runs set dataset_hash = 'other' where id = %s", [moved])
    connection.execute("delete from raw.optimization_runs where task = 'ties'")
    (emptied,) = connection.execute("select id from raw.optimization_runs where task = 'loss' limit 1").fetchone()
    connection.execute("delete from raw.optimization_iterations where run_id = %s", [emptied])
    late = add_run(connection, **BOARD, config={"metric": "exact"}, final_score_raw=95, start_time="2026-01-01T00:00Z")
    add_iterations(connection, late, [(0, "full", 95, 10, 0.5)])
    insert(connection, "optimization_samples", [sample_row(late, 0, 0, sample_key="sample-9", is_correct=True)])

    build(connection, [], *SELECTION)
    after = contents(connection)
    changed = {f"marts.{mart}" for mart in MARTS} | {"intermediate.int_optimizer_sample_scores"}
    assert changed <= set(differing(before, after))
    build(connection, [], *SELECTION, "--full-refresh", command="run")
    assert differing(after, contents(connection)) == []
