"""Rows of a batch live as long as the batch, with no help of the garbage collector."""

import gc
import weakref
from datetime import UTC, datetime

import pytest

from pipelines.ingest.redaction import Redactor
from pipelines.ingest.rows import Origin, RowBuilder
from pipelines.sources.records import Execution

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
