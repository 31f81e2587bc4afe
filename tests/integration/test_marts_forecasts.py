"""Forecasts and budgets against statsmodels and pandas, on spends of known shape."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
import psycopg
import pytest
import statsmodels.api as sm
from scipy import stats

from pipelines.database import connect
from pipelines.settings import Settings
from tests.marts import build, contents, differing, frame, warehouse_environment

AS_OF = date(2026, 6, 17)
HISTORY_DAYS, HORIZON_DAYS = 56, 31
MODELS = ("--select", "+budget_status")
BUDGETS = {"seasonal": 300, "recent": 600, "week": 1000, "steady": 41}
INTERVAL_TOLERANCE = 2e-4
"""Relative; the t quantile comes from an expansion that is within 0.01 % from six degrees of freedom on."""


@dataclass(frozen=True)
class Spending:
    """A built warehouse and the spend it was made from, by project and day."""

    connection: psycopg.Connection
    by_day: dict[str, pd.Series]

    def history(self, project: str) -> pd.Series:
        """The days that a forecast may rest on, those without spend filled in."""
        days = self.by_day[project]
        first = max(days.index.min(), AS_OF - timedelta(days=HISTORY_DAYS - 1))
        return days.reindex([first + timedelta(days=n) for n in range((AS_OF - first).days + 1)]).fillna(0.0)

    def regression(self, project: str) -> tuple[sm.regression.linear_model.RegressionResults, np.ndarray]:
        """Spend by weekday, from two weeks of history on, or by nothing; and the same design for the days ahead."""
        history = self.history(project)
        by_weekday = len(history) >= 14
        ahead = [AS_OF + timedelta(days=n + 1) for n in range(HORIZON_DAYS)]
        fitted = sm.OLS(history.to_numpy(), design(history.index, by_weekday)).fit()
        return fitted, design(ahead, by_weekday)


def design(days: Sequence[date], by_weekday: bool) -> np.ndarray:
    seasons = [day.weekday() if by_weekday else 0 for day in days]
    return np.eye(7 if by_weekday else 1)[seasons]


def spends() -> dict[str, pd.Series]:
    rng = np.random.default_rng(4)

    def series(days: int, usd: Callable[[int, date], float], until: date = AS_OF) -> pd.Series:
        dates = [until - timedelta(days=back) for back in reversed(range(days))]
        return pd.Series([round(usd(n, day), 6) for n, day in enumerate(dates)], index=dates)

    return {
        "seasonal": series(90, lambda n, day: 10 + 5 * (day.isoweekday() <= 5) + rng.gamma(2, 2)),
        "recent": series(20, lambda n, day: rng.gamma(1, 20)).drop([AS_OF - timedelta(days=k) for k in (1, 2, 8)]),
        "week": series(9, lambda n, day: 3.0 + n),
        "young": series(5, lambda n, day: 3.0),
        "silent": series(10, lambda n, day: 5.0, until=AS_OF - timedelta(days=HISTORY_DAYS)),
        "steady": series(60, lambda n, day: 2.0),
    }


def insert(connection: psycopg.Connection, project: str, by_day: pd.Series) -> None:
    connection.execute("select ops.ensure_month_partitions(%s, %s)", [by_day.index.min(), by_day.index.max()])
    connection.cursor().executemany(
        """
        insert into raw.model_requests (
            project_id, request_key, timestamp, message_id, execution_id, model, output_tokens, cost_usd, cost_status,
            source, source_file_key, source_offset
        )
        select %(project)s, %(day)s || k, %(day)s::timestamp at time zone 'UTC' + k * interval '9 hours', 'message',
            md5(%(project)s || %(day)s)::uuid, 'model', 1, %(usd)s / 2, 'computed', 'claude_code', 'file', 0
        from generate_series(1, 2) as k
        """,
        [{"project": project, "day": day.isoformat(), "usd": usd} for day, usd in by_day.items()],
    )


@pytest.fixture(scope="module")
def spending(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spending]:
    with migrated_database() as dsn, connect(dsn) as connection:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"), database_url=dsn, reader_database_url=None, watched_folders=()
        )
        with warehouse_environment(settings, dsn):
            by_day = spends()
            for project, days in by_day.items():
                connection.execute(
                    "insert into app.project_config (project_id, display_name, monthly_budget_usd) values (%s, %s, %s)",
                    [project, project, BUDGETS.get(project)],
                )
                insert(connection, project, days)
            build(connection, [AS_OF], *MODELS, command="run")
            yield Spending(connection, by_day)


def forecast_of(spending: Spending, project: str) -> pd.DataFrame:
    found = frame(
        spending.connection, f"select * from marts.cost_forecast where project_id = '{project}' order by forecast_date"
    )
    assert list(found.forecast_date) == [AS_OF + timedelta(days=n + 1) for n in range(HORIZON_DAYS)]
    assert set(found.as_of_date) == {AS_OF}
    return found


@pytest.mark.parametrize("project", ["seasonal", "recent", "week", "steady"])
def test_forecasts_and_intervals_are_those_of_a_regression_on_the_weekday(spending: Spending, project: str):
    fitted, ahead = spending.regression(project)
    found = forecast_of(spending, project)
    predicted = fitted.get_prediction(ahead).summary_frame(alpha=0.05)
    assert set(found.history_days) == {len(spending.history(project))}
    assert set(found.method) == {"mean" if project == "week" else "weekday mean"}
    np.testing.assert_allclose(found.expected_cost_usd, predicted["mean"], atol=1e-6)
    half_width = (predicted["obs_ci_upper"] - predicted["mean"]).to_numpy()
    np.testing.assert_allclose(
        found.cost_high_usd - found.expected_cost_usd, half_width, rtol=INTERVAL_TOLERANCE, atol=2e-6
    )
    np.testing.assert_allclose(found.cost_low_usd, np.maximum(0, predicted["mean"] - half_width), atol=1e-3)


@pytest.mark.parametrize("project", ["seasonal", "recent", "week"])
def test_intervals_of_sums_hold_the_common_error_of_the_means(spending: Spending, project: str):
    fitted, ahead = spending.regression(project)
    found = forecast_of(spending, project)
    quantile = stats.t.ppf(0.975, fitted.df_resid)
    for days in (1, 7, 13, HORIZON_DAYS):
        summed = ahead[:days].sum(axis=0)
        variance = fitted.scale * days + summed @ fitted.cov_params() @ summed
        row = found.iloc[days - 1]
        assert row.cumulative_cost_usd == pytest.approx(float(summed @ fitted.params), abs=1e-5)
        width = row.cumulative_high_usd - row.cumulative_cost_usd
        assert width == pytest.approx(quantile * np.sqrt(variance), rel=INTERVAL_TOLERANCE)


def test_too_little_history_and_long_silence_give_no_forecast(spending: Spending):
    projects = frame(spending.connection, "select distinct project_id from marts.cost_forecast")
    assert set(projects.project_id) == {"seasonal", "recent", "week", "steady"}


def test_budgets_are_held_against_the_months_spend_and_its_forecast(spending: Spending):
    found = frame(spending.connection, "select * from marts.budget_status").set_index("project_id")
    assert set(found.index) == set(spending.by_day)
    month = [date(2026, 6, day) for day in range(1, 31)]
    for project, days in spending.by_day.items():
        row = found.loc[project]
        spent = days[[day for day in days.index if date(2026, 6, 1) <= day <= AS_OF]]
        assert row.spent_usd == pytest.approx(spent.sum())
        if project in ("young", "silent"):
            assert (row.status, row.projected_usd) == ("no_budget", pytest.approx(float("nan"), nan_ok=True))
            continue
        forecast = forecast_of(spending, project).set_index("forecast_date")
        expected = forecast.expected_cost_usd[[day for day in forecast.index if day <= month[-1]]]
        assert row.projected_usd == pytest.approx(spent.sum() + expected.sum(), abs=1e-4)
        course = pd.concat([spent.reindex([day for day in month if day <= AS_OF]).fillna(0), expected]).cumsum()
        above = course[course > BUDGETS[project]]
        assert row.crossing_date == (above.index[0] if len(above) else None), project
        assert row.remaining_usd == pytest.approx(BUDGETS[project] - spent.sum())
    assert dict(found.status) == {
        "seasonal": "will_exceed",
        "recent": "may_exceed",
        "week": "within",
        "young": "no_budget",
        "silent": "no_budget",
        "steady": "will_exceed",
    }


def test_a_night_gives_what_a_build_from_scratch_gives(spending: Spending):
    connection = spending.connection
    insert(connection, "seasonal", pd.Series([40.0], index=[AS_OF + timedelta(days=1)]))
    build(connection, [AS_OF + timedelta(days=1)], *MODELS, command="run")
    after = contents(connection)
    [(moved,)] = connection.execute("select distinct as_of_date from marts.cost_forecast").fetchall()
    assert moved == AS_OF + timedelta(days=1)
    build(connection, [AS_OF + timedelta(days=1)], *MODELS, "--full-refresh", command="run")
    assert differing(after, contents(connection)) == []


def test_only_positive_budgets_can_be_set_and_not_by_tenants(spending: Spending):
    connection = spending.connection
    connection.rollback()
    for usd in ("0", "-1", "'NaN'", "'Infinity'"):
        with pytest.raises(psycopg.errors.CheckViolation), connection.transaction():
            connection.execute("set local role tracemill_owner")
            connection.execute(f"update app.project_config set monthly_budget_usd = {usd} where project_id = 'week'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute("set local role app_admin")
        connection.execute("update app.project_config set monthly_budget_usd = 1 where project_id = 'week'")
