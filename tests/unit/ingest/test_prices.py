import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, product
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price

from pipelines.ingest.prices import ModelPrice, price_rows, priced_name

REFERENCE = Path(__file__).parents[4] / "shared/corpus/ground_truth/commands_reference.json"
REFERENCE_PRICES = "prices_usd_per_mtok[in,out,cw5m,cw1h,cr]"

CLAUDE = [
    "claude-opus-4-7",
    "claude-opus-4-6",
    "claude-opus-4-5-20251101",
    "claude-opus-4-1-20250805",
    "claude-opus-4-20250514",
    "claude-sonnet-4-6",
    "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-20250514",
    "claude-sonnet-4",
    "claude-haiku-4-5-20251001",
    "claude-3-sonnet-20240229",
    "claude-3-5-haiku-20241022",
]
CODEX = [
    "gpt-5",
    "gpt-5-codex",
    "gpt-5.1-codex",
    "gpt-5.1-codex-max",
    "gpt-5.1-codex-mini",
    "gpt-5.2",
    "gpt-5.2-codex",
    "gpt-5.3-codex",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.5",
]
PERIODS = [
    datetime(2025, 6, 1, tzinfo=UTC),
    datetime(2026, 3, 12, 23, 59, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
]


def price_at(rows: list[ModelPrice], moment: datetime, prompt_tokens: int) -> ModelPrice:
    """The row that prices a request, chosen as app.model_prices says."""

    def holds(row: ModelPrice) -> bool:
        starts = datetime.fromisoformat(row.valid_from) <= moment
        ends = row.valid_to is None or datetime.fromisoformat(row.valid_to) > moment
        return starts and ends and (row.min_prompt_tokens == 0 or prompt_tokens > row.min_prompt_tokens)

    return max(filter(holds, rows), key=lambda row: row.min_prompt_tokens)


@pytest.mark.parametrize("model", CLAUDE)
def test_costs_equal_those_of_the_package_in_every_period_and_tier(model: str) -> None:
    rows = price_rows([model])
    for moment, uncached in product(PERIODS, (1_000, 250_000)):
        price = price_at(rows, moment, uncached + 700)
        cost = (
            uncached * price.input_usd_per_mtok
            + 500 * price.cache_read_usd_per_mtok
            + 200 * price.cache_write_5m_usd_per_mtok
            + 300 * price.output_usd_per_mtok
        ) / 1_000_000
        usage = Usage(input_tokens=uncached + 700, cache_read_tokens=500, cache_write_tokens=200, output_tokens=300)
        expected = calc_price(usage, model, genai_request_timestamp=moment).total_price
        assert cost == expected, (moment, uncached)


@pytest.mark.parametrize("model", CODEX)
def test_costs_of_models_that_codex_uses_equal_those_of_the_package(model: str) -> None:
    rows = price_rows([model])
    for moment, uncached in product(PERIODS, (1_000, 250_000, 300_000)):
        price = price_at(rows, moment, uncached + 500)
        cost = (
            uncached * price.input_usd_per_mtok + 500 * price.cache_read_usd_per_mtok + 300 * price.output_usd_per_mtok
        ) / 1_000_000
        usage = Usage(input_tokens=uncached + 500, cache_read_tokens=500, output_tokens=300)
        assert cost == calc_price(usage, model, provider_id="openai", genai_request_timestamp=moment).total_price


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is not here: no reference prices to compare with")
def test_prices_equal_the_reference_table() -> None:
    reference = json.loads(REFERENCE.read_text())[REFERENCE_PRICES]
    assert reference
    for model, prices in reference.items():
        for row in (row for row in price_rows([model]) if row.min_prompt_tokens == 0):
            ours = [
                row.input_usd_per_mtok,
                row.output_usd_per_mtok,
                row.cache_write_5m_usd_per_mtok,
                row.cache_write_1h_usd_per_mtok,
                row.cache_read_usd_per_mtok,
            ]
            assert ours == [Decimal(str(price)) for price in prices], model


@pytest.mark.parametrize("model", CLAUDE)
def test_cache_prices_of_claude_are_multiples_of_its_input_price(model: str) -> None:
    for row in price_rows([model]):
        assert row.cache_write_5m_usd_per_mtok == row.input_usd_per_mtok * Decimal("1.25")
        assert row.cache_write_1h_usd_per_mtok == row.input_usd_per_mtok * 2
        assert row.cache_read_usd_per_mtok == row.input_usd_per_mtok / 10
        assert row.web_search_usd_per_request == Decimal("0.01")


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("claude-opus-4-6[1m]", "claude-opus-4-6"),
        ("Claude-Opus-4-7", "claude-opus-4-7"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5-20250929"),
        ("anthropic/claude-opus-4-6", "claude-opus-4-6"),
        ("anthropic/claude-opus-4.5", "claude-opus-4-5-20251101"),
        ("vertex_ai/claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("anthropic.claude-3-sonnet-20240229-v1:0", "claude-3-sonnet-20240229"),
        ("openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ],
)
def test_a_model_is_known_by_the_names_that_gateways_give_it(name: str, same_as: str) -> None:
    moment = PERIODS[-1]
    one, other = (price_at(price_rows([n]), moment, 1000) for n in (name, same_as))
    assert (one.model, other.model) == (name, same_as)
    assert one.input_usd_per_mtok == other.input_usd_per_mtok
    assert one.output_usd_per_mtok == other.output_usd_per_mtok
    assert one.cache_write_1h_usd_per_mtok == other.cache_write_1h_usd_per_mtok


def test_regional_bedrock_names_have_their_own_price() -> None:
    (row,) = price_rows(["us.anthropic.claude-sonnet-4-5-20250929-v1:0"])
    assert row.input_usd_per_mtok == Decimal("3.3")
    assert row.cache_write_1h_usd_per_mtok == Decimal("6.6")


@pytest.mark.parametrize(
    "model",
    [
        "<synthetic>",
        "",
        "sonnet",
        "my-own-model",
        "z-ai/glm-4.5-air:free",
        "claude-opus-4-7:free",
        "deepseek-chat",
        "claude-unheard-of",
    ],
)
def test_a_model_without_a_sure_price_has_no_row(model: str) -> None:
    assert price_rows([model]) == []


def test_a_speed_has_a_price_only_where_the_package_knows_one() -> None:
    fast = price_rows([priced_name("claude-opus-5", "fast")])
    standard = price_rows([priced_name("claude-opus-5", "standard")])
    assert {row.model for row in fast} == {"claude-opus-5#fast"}
    assert {row.input_usd_per_mtok for row in fast} == {Decimal(10)}
    assert {row.input_usd_per_mtok for row in standard} == {Decimal(5)}
    assert price_rows([priced_name("claude-haiku-4-5-20251001", "fast")]) == []


def test_rows_say_which_prices_the_package_did_not_have() -> None:
    (row,) = price_rows(["claude-3-sonnet-20240229"])
    assert row.price_version.startswith("genai-prices ")
    assert row.price_version.endswith("derived: web_searches")
    assert all("derived" not in row.price_version for row in price_rows(["claude-opus-4-7"]))


def test_caching_without_a_price_of_its_own_costs_what_input_costs() -> None:
    (row,) = price_rows(["gpt-4o-mini-2024-07-18"])
    assert row.cache_write_5m_usd_per_mtok == row.cache_write_1h_usd_per_mtok == row.input_usd_per_mtok
    assert row.cache_read_usd_per_mtok < row.input_usd_per_mtok


def test_periods_of_a_tier_follow_each_other_without_overlap() -> None:
    for model in [*CLAUDE, "gemini-2.5-pro", "gpt-5.4", "claude-opus-5#fast"]:
        rows = price_rows([model])
        assert rows, model
        for tier in {row.min_prompt_tokens for row in rows}:
            periods = [(row.valid_from, row.valid_to) for row in rows if row.min_prompt_tokens == tier]
            assert periods[0][0].startswith("2000-01-01")
            assert all(one[1] <= next_one[0] for one, next_one in pairwise(periods))


def test_a_price_change_holds_from_midnight_utc() -> None:
    rows = price_rows(["claude-opus-4-6"])
    change = datetime(2026, 3, 13, tzinfo=UTC)
    assert price_at(rows, change - timedelta(seconds=1), 300_000).input_usd_per_mtok == 10
    assert price_at(rows, change, 300_000).input_usd_per_mtok == 5


def test_each_model_is_priced_once_however_often_it_is_named() -> None:
    assert len(price_rows(["claude-opus-4-7"] * 3)) == 1


def test_the_package_is_not_imported_before_prices_are_asked_for() -> None:
    check = "import sys, pipelines.ingest.prices; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
