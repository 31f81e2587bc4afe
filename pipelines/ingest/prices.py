"""List prices as rows of ``app.model_prices``, so that a request is priced by SQL at the moment it was made.

The prices are those bundled with ``genai-prices``: nothing is fetched. A model that the package does not know
gets no row, and its requests stay unpriced: an unknown price is never 0.

What the package leaves open is settled here, and the row's ``price_version`` says so by ``derived:`` and the names
of the prices that were:

- Claude, by any seller: five-minute cache writes cost 1.25 times, one-hour writes 2 times and cache reads 0.1 times
  the input price; a web search costs 0.01 USD.
- Other models: without a price of their own, cache reads and cache writes cost what input costs.

Not priced, because a row could not be right: names ending in ``:free``, models whose price is 0 in the package,
models whose price changes with the hour of the day, and any speed or region of a model that the package lacks.
A bare name belongs to the seller to which the package assigns it (``claude-…`` to Anthropic, ``gpt-…`` to OpenAI).
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from genai_prices import types
    from genai_prices.data_snapshot import DataSnapshot

_NO_BEGINNING = "2000-01-01 00:00:00+00"
_SPEED_SEPARATOR = "#"
_CONTEXT_SUFFIX = re.compile(r"\[\d+[km]\]$")
_BEDROCK = re.compile(r"^(?:arn:aws:bedrock:|(?:[a-z-]{2,7}\.)?(?:anthropic|amazon|meta|mistral|cohere|deepseek)\.)")
_CLAUDE_MULTIPLES = {
    "cache_write_mtok": Decimal("1.25"),
    "cache_write_1h_mtok": Decimal(2),
    "cache_read_mtok": Decimal("0.1"),
}
_CLAUDE_WEB_SEARCHES_KCOUNT = Decimal(10)


class ModelPrice(msgspec.Struct, frozen=True):
    """One row of ``app.model_prices``: the price of one model, prompt tier and period of validity."""

    model: str
    """As named in the logs; with ``#fast`` behind it for a speed that has a price of its own."""
    valid_from: str
    """Timestamp as PostgreSQL reads it; the year 2000 where the price has no beginning."""
    valid_to: str | None
    """None as long as the price holds."""
    min_prompt_tokens: int
    """The tier holds for prompts of more than this many tokens."""
    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal
    cache_read_usd_per_mtok: Decimal
    cache_write_5m_usd_per_mtok: Decimal
    cache_write_1h_usd_per_mtok: Decimal
    web_search_usd_per_request: Decimal
    price_version: str


def priced_name(model: str, speed: str | None) -> str:
    """The name under which a request's price stands: the model's, with its speed when that is not the standard one."""
    return model if speed in (None, "", "standard") else f"{model}{_SPEED_SEPARATOR}{speed}"


@cache
def load() -> "tuple[DataSnapshot, str]":
    """The price list and its version; it takes a quarter of a second and 30 MB, which most commands need not pay."""
    from genai_prices import __version__
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot(), f"genai-prices {__version__}"


def price_rows(models: Iterable[str]) -> list[ModelPrice]:
    """Rows for the models as named in logs (``priced_name``); none for those without a known price."""
    snapshot, version = load()
    return [row for name in dict.fromkeys(models) for row in _rows_of_model(name, snapshot, version)]


def _rows_of_model(name: str, snapshot: "DataSnapshot", version: str) -> Iterator[ModelPrice]:
    model_name, _, speed = name.partition(_SPEED_SEPARATOR)
    info = _find_model(model_name.strip().lower(), snapshot)
    if info is None or _varies_within_a_day(info):
        return
    for start, end in pairwise([*_period_starts(info, speed), None]):
        moment = datetime.combine(start or date.min, time(), UTC)
        prices = _prices_at(info, moment, speed)
        if prices is None:
            continue
        for tier in _tier_starts(prices):
            row = _row(name, prices, tier, is_claude="claude" in info.id.lower(), version=version)
            if row is not None:
                yield msgspec.structs.replace(
                    row, valid_from=_timestamp(start) or _NO_BEGINNING, valid_to=_timestamp(end)
                )


def _find_model(name: str, snapshot: "DataSnapshot") -> "types.ModelInfo | None":
    name = _CONTEXT_SUFFIX.sub("", name)
    if not name or name.endswith(":free"):
        return None
    seller, slash, rest = name.partition("/")
    attempts: list[tuple[str, str | None]] = [(name, "aws")] if _BEDROCK.match(name) else [(name, None)]
    if slash:
        # Names with a slash are OpenRouter's own spelling, else a gateway's prefix before the seller's spelling.
        attempts += [(name, "openrouter"), (rest, seller), (rest.rpartition("/")[2], seller)]
    for reference, provider in attempts:
        try:
            return snapshot.find_provider_model(reference, None, provider, None)[1]
        except LookupError:
            continue
    return None


def _varies_within_a_day(info: "types.ModelInfo") -> bool:
    from genai_prices.types import TimeOfDateConstraint

    return isinstance(info.prices, list) and any(isinstance(p.constraint, TimeOfDateConstraint) for p in info.prices)


def _period_starts(info: "types.ModelInfo", speed: str) -> list[date | None]:
    """Days on which the price changes, after None for the time before the first change."""
    from genai_prices.types import StartDateConstraint

    constraints = [p.constraint for p in info.prices] if isinstance(info.prices, list) else []
    constraints += [v.constraint for v in _speed_variants(info, speed)]
    return [None, *sorted({c.start_date for c in constraints if isinstance(c, StartDateConstraint)})]


def _prices_at(info: "types.ModelInfo", moment: datetime, speed: str) -> "types.ModelPrice | None":
    if not speed:
        return info.get_prices(moment)
    known = any(v.constraint is None or v.constraint.active(moment) for v in _speed_variants(info, speed))
    return info.get_prices(moment, {"speed": speed}) if known else None


def _speed_variants(info: "types.ModelInfo", speed: str) -> "list[types.PriceVariant]":
    return [v for v in info.price_variants or () if v.when == {"speed": speed}]


def _tier_starts(prices: "types.ModelPrice") -> list[int]:
    from genai_prices.types import TieredPrices

    tiered = [price for price in vars(prices).values() if isinstance(price, TieredPrices)]
    return sorted({0, *(tier.start for price in tiered for tier in price.tiers)})


def _row(name: str, prices: "types.ModelPrice", tier: int, *, is_claude: bool, version: str) -> ModelPrice | None:
    derived = []

    def usd(key: str, default: Decimal) -> Decimal:
        price = _price_in_tier(getattr(prices, key), tier)
        if price is not None:
            return price
        derived.append(key.removesuffix("_mtok").removesuffix("_kcount"))
        return default

    input_price = _price_in_tier(prices.input_mtok, tier)
    output_price = _price_in_tier(prices.output_mtok, tier)
    if not input_price or not output_price:
        return None
    multiples = _CLAUDE_MULTIPLES if is_claude else {}
    cache_read = usd("cache_read_mtok", input_price * multiples.get("cache_read_mtok", 1))
    cache_write = usd("cache_write_mtok", input_price * multiples.get("cache_write_mtok", 1))
    long_write = input_price * multiples["cache_write_1h_mtok"] if is_claude else cache_write
    cache_write_1h = usd("cache_write_1h_mtok", long_write)
    searches = usd("web_searches_kcount", _CLAUDE_WEB_SEARCHES_KCOUNT if is_claude else Decimal(0))
    return ModelPrice(
        model=name,
        valid_from=_NO_BEGINNING,
        valid_to=None,
        min_prompt_tokens=tier,
        input_usd_per_mtok=input_price,
        output_usd_per_mtok=output_price,
        cache_read_usd_per_mtok=cache_read,
        cache_write_5m_usd_per_mtok=cache_write,
        cache_write_1h_usd_per_mtok=cache_write_1h,
        web_search_usd_per_request=searches / 1000,
        price_version=f"{version}, derived: {' '.join(sorted(derived))}" if derived else version,
    )


def _price_in_tier(price: "Decimal | types.TieredPrices | None", tier: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    return max(((t.start, t.price) for t in price.tiers if t.start <= tier), default=(0, price.base))[1]


def _timestamp(day: date | None) -> str | None:
    return None if day is None else f"{day.isoformat()} 00:00:00+00"
