from typing import Any

import msgspec
import psycopg

from pipelines.ingest.prices import ModelPrice, price_rows

MODELS = [
    *("claude-opus-4-6", "claude-opus-4-6[1m]", "claude-opus-4-7", "claude-sonnet-4-5-20250929", "claude-opus-5#fast"),
    *("claude-haiku-4-5-20251001", "us.anthropic.claude-opus-4-6-v1:0", "anthropic/claude-opus-4.5", "gpt-5.4"),
    *("gemini-2.5-pro", "glm-4.7", "minimax-m2", "kimi-k2"),
]


def test_price_rows_are_what_the_table_takes(connection: psycopg.Connection[Any]) -> None:
    rows = price_rows(MODELS)
    columns = ", ".join(ModelPrice.__struct_fields__)
    marks = ", ".join(["%s"] * len(ModelPrice.__struct_fields__))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"insert into app.model_prices ({columns}) values ({marks})", [msgspec.structs.astuple(row) for row in rows]
        )
    stored = connection.execute("select count(*), count(distinct model) from app.model_prices").fetchone()
    assert stored == (len(rows), len(MODELS))


def test_every_moment_has_exactly_one_base_price(connection: psycopg.Connection[Any]) -> None:
    test_price_rows_are_what_the_table_takes(connection)
    uncovered = connection.execute(
        """
        select p.model, moment
        from (select distinct model from app.model_prices) as p
        cross join generate_series('2024-01-01'::timestamptz, '2027-01-01', interval '1 day') as moment
        left join app.model_prices as prices
            on prices.model = p.model and prices.min_prompt_tokens = 0
            and moment >= prices.valid_from and (prices.valid_to is null or moment < prices.valid_to)
        group by p.model, moment
        having count(prices.model) <> 1
        """
    ).fetchall()
    assert uncovered == []
