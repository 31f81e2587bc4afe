"""Rows of a batch hold no half of a secret, and live as long as the batch, with no help of the garbage collector."""

import gc
import weakref
from datetime import UTC, datetime

import msgspec
import pytest

from pipelines.ingest.redaction import Redactor
from pipelines.ingest.rows import Origin, RowBuilder
from pipelines.sources.content import Block, settle
from pipelines.sources.records import Execution, ToolCall

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def without_collector():
    gc.disable()
    yield
    gc.enable()


def test_a_batch_is_gone_with_the_last_reference_to_it(without_collector):
    builder = RowBuilder(Redactor(b"k" * 32), b"k" * 32, NOW)
    execution = Execution("5e551014-0000-4000-8000-000000000001", "prompt", NOW, NOW, 1, 0, command="Go")
    builder.add(Origin("shop", "device", "claude_code", "file", "a.jsonl"), [execution], [], [], [])
    staged = builder.rows()
    assert [row[6] for row in staged.executions] == ["Go"]
    left = [weakref.ref(builder), weakref.ref(staged)]
    del builder, staged
    assert [reference() for reference in left] == [None, None]


@pytest.mark.parametrize("filler", range(3960, 3990, 3))
def test_an_error_is_cut_so_that_no_half_of_a_secret_is_left(filler):
    error = "x " * (filler // 2) + "postgres://app:Tr0ub4dor9Zebra@db/shop is down"
    call = ToolCall("toolu_1", "Bash", 0, NOW, execution_id="e")
    settle(call, Block(is_error=True, content=msgspec.Raw(msgspec.json.encode(error))))
    builder = RowBuilder(Redactor(b"k" * 32), b"k" * 32, NOW)
    execution = Execution("e", "prompt", NOW, NOW, 1, 0, command="Go")
    builder.add(Origin("shop", "device", "claude_code", "file", "a.jsonl"), [execution], [], [call], [])
    (row,) = builder.rows().tool_calls
    assert "more]" in str(row)
    assert "Tr0ub4" not in str(row)
