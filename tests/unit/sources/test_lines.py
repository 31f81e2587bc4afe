"""A file becomes lines, each either understood, blank or bad with a reason, in bounded memory."""

import io
import json
import tracemalloc

import pytest
from source_files import Transcript, chunks_of, read, text

from pipelines.sources import lines
from pipelines.sources.records import BadLine

GO = bytes(Transcript().user("Go"))
USER = GO.rstrip(b"\n")


def bad_lines(data: bytes) -> list[BadLine]:
    return [bad for chunk in chunks_of(data) for bad in chunk.bad]


def with_content(raw: bytes) -> bytes:
    return USER.replace(b'"Go"', raw)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"type":"user"', "malformed_json"),
        (b"plain words", "malformed_json"),
        (b'{"type":NaN}', "malformed_json"),
        (b'{"a":1} {"b":2}', "trailing_data"),
        (b'"a string"', "not_an_object"),
        (b"42", "not_an_object"),
        (b"null", "not_an_object"),
        (b"[1]", "not_an_object"),
        (b'{"type":"x","a":"\0"}', "nul_byte"),
        (with_content(b'"\xff\xfe"'), "invalid_utf8"),
        (b'\xff\xfe{"type":"x"}', "invalid_utf8"),
        (with_content(rb'"\ud800"'), "lone_surrogate"),
        (with_content(rb'"a\udc00b"'), "lone_surrogate"),
        (b'{"type":"x","a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too_deep"),
        (USER.replace(b"2026-03-02T", b"someday T"), "bad_timestamp"),
        (USER.replace(b'"timestamp"', b'"timestomp"'), "bad_timestamp"),
        (USER.replace(b'"2026-03-02T09:00:00.000Z"', b"1772442000"), "bad_timestamp"),
        (USER.replace(b'"2026-03-02T09:00:00.000Z"', b'"0001-01-01T00:00:00+14:00"'), "bad_timestamp"),
        (b'{"type":"user","message":"words"}', "unexpected_shape"),
        (b'{"type":"assistant","message":{"usage":{"output_tokens":-1}}}', "unexpected_shape"),
        (b'{"type":"assistant","message":{"usage":{"output_tokens":1e999}}}', "unexpected_shape"),
        (b'{"type":"assistant","message":{"usage":{"output_tokens":' + b"9" * 5000 + b"}}}", "unexpected_shape"),
    ],
)
def test_a_bad_line_has_a_reason_and_harms_no_other(line, reason):
    data = GO + line + b"\n" + GO.replace(b"Go", b"On").replace(b"-000000000001", b"-000000000002")
    records = read(data)
    [bad] = records.bad.values()
    assert (bad.reason, bad.line, bad.offset, bad.length) == (reason, 2, len(GO), len(line))
    assert bad.sample == line[:256]
    assert bad.detail.endswith(".")
    assert [execution.command for execution in records.listed] == ["Go", "On"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"novelty","a":1e999,"b":' + b"9" * 5000 + b"}",
        b'{"type":"novelty","a":1,"a":2}',
        b'{"type":"novelty","message":"of another shape"}',
        b'{"type":"progress","timestamp":"never","data":7}',
        b'{"type":"novelty","text":"\xff not ours"}',
        rb'{"type":"novelty","a":"\ud83d\ude00 \\ud800"}',
        '{"type":"novelty","a":"one\u2028line"}'.encode(),
        b'{"type":"summary"}\r',
    ],
)
def test_what_no_record_needs_may_have_any_shape(line):
    [chunk] = chunks_of(line + b"\n")
    assert (chunk.good_lines, chunk.bad) == (1, [])


def test_byte_order_mark_carriage_returns_and_blank_lines_are_no_obstacle():
    data = b"\xef\xbb\xbf" + GO.replace(b"\n", b"\r\n") + b"\n \t\r\n" + b"\xef\xbb\xbf\n"
    [chunk] = chunks_of(data)
    assert (chunk.good_lines, chunk.blank_lines, chunk.bad, len(chunk.executions)) == (1, 3, [], 1)


def test_a_torn_last_line_waits_and_a_whole_one_counts():
    more = bytes(Transcript("other").user("More").assistant(text("Yes.")))
    for cut in range(len(GO), len(GO + more)):
        chunk = chunks_of((GO + more)[:cut])[-1]
        assert chunk.bad == []
        whole = (GO + more)[:cut].rsplit(b"\n", 1)[1]
        expected = (GO + more)[:cut].count(b"\n") + (lines_up(whole) if whole else 0)
        assert chunk.good_lines == expected


def lines_up(line: bytes) -> int:
    try:
        return int(isinstance(json.loads(line), dict))
    except ValueError:
        return 0


def test_a_line_that_is_too_long_is_drained_in_bounded_memory():
    length = lines.MAX_LINE_BYTES * 4

    class Endless(io.RawIOBase):
        """``length`` bytes without a newline, then a usable line; nothing of it stands in memory."""

        def __init__(self) -> None:
            self.left, self.tail = length, b"\n" + GO

        def read(self, size: int = -1) -> bytes:
            if self.left:
                size = min(size, self.left)
                self.left -= size
                return b"x" * size
            tail, self.tail = self.tail, b""
            return tail

    tracemalloc.start()
    [chunk] = chunks_of(b"", wrap=lambda _: Endless(), chunk_bytes=1 << 30)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    [bad] = chunk.bad
    assert (bad.reason, bad.length, bad.offset, len(bad.sample)) == ("line_too_long", length, 0, 256)
    assert [(e.command, e.line, e.offset) for e in chunk.executions] == [("Go", 2, length + 1)]
    assert peak < lines.MAX_LINE_BYTES * 2.5


@pytest.mark.parametrize("surplus", [0, 1])
def test_the_longest_line_is_still_read(surplus, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", len(USER) + 5 - surplus)
    data = GO.replace(b"Go", b"Go away")
    records = read(data)
    assert [bad.reason for bad in records.bad.values()] == ["line_too_long"] * surplus
    assert len(records.executions) == 1 - surplus


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1000])
def test_the_size_of_blocks_changes_nothing(block_bytes, monkeypatch):
    data = GO + b"\n\nbad\n" + bytes(Transcript().user("a").assistant(text("b")).user("c"))
    expected = read(data).everything()
    monkeypatch.setattr(lines, "BLOCK_BYTES", block_bytes)
    assert read(data).everything() == expected


def test_an_empty_file_gives_an_empty_chunk():
    [chunk] = chunks_of(b"")
    assert (chunk.offset, chunk.lines, chunk.good_lines, chunk.executions) == (0, 0, 0, [])
