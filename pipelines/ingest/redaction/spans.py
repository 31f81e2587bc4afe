"""Places of secrets in a text, and the texts behind a text: escapes undone, with the way back to where they stood."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator

import msgspec

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([\"'\\/bfnrt`]))")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_CONTROL = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MAX_DEPTH = 4
_MIN_PART = 3


class Span(msgspec.Struct, frozen=True, order=True):
    """A secret: where it stands, which rule found it and what it says when escapes are undone."""

    start: int
    end: int
    rule: str
    secret: str


class View(msgspec.Struct, frozen=True):
    """A text with its escapes undone. Each step leads one level back towards the text as it stands."""

    text: str
    steps: tuple[tuple[list[int], list[int]], ...] = ()
    """Per level: positions after each undone escape, in this text and in the one it was made from."""

    def to_source(self, span: Span) -> Span:
        """The span as it stands in the source; escapes that touch it belong to it."""
        start, end = span.start, span.end
        for plain, source in self.steps:
            start, end = _back(plain, source, start), _back(plain, source, end)
        return Span(start, end, span.rule, span.secret)


def views(text: str) -> Iterator[View]:
    """The text itself, then with backslash escapes undone once, twice …, then with percent escapes undone."""
    view = View(text)
    yield view
    if "\\" in text:
        for _ in range(_MAX_DEPTH):
            deeper = _undo(view, _ESCAPE, _unescape)
            if deeper is None:
                break
            view = deeper
            yield view
    if "%" in text and (decoded := _undo(View(text), _PERCENT, _unquote)):
        yield decoded


def merge(spans: list[Span]) -> list[Span]:
    """Spans in order; overlapping ones become one, named by the rule of the first or longest."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
        elif span.end > merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, span.end, last.rule, last.secret + span.secret)
    return merged


def without(spans: list[Span], kept: list[tuple[int, int]], text: str) -> list[Span]:
    """What is left of the spans outside the kept places; both are in order and free of overlaps."""
    if not kept:
        return spans
    left = []
    following = 0
    for span in spans:
        while following < len(kept) and kept[following][1] <= span.start:
            following += 1
        position, index = span.start, following
        while index < len(kept) and kept[index][0] < span.end:
            left.append(_part(span, position, kept[index][0], text))
            position = kept[index][1]
            index += 1
        left.append(span if position == span.start else _part(span, position, span.end, text))
    return [span for span in left if span.end - span.start >= _MIN_PART and any(map(str.isalnum, span.secret))]


def _part(span: Span, start: int, end: int, text: str) -> Span:
    return Span(start, end, span.rule, text[start:end])


def _undo(view: View, escape: re.Pattern[str], replace: Callable[[re.Match[str]], str]) -> View | None:
    pieces: list[str] = []
    plain_ends, source_ends = [0], [0]
    position = length = 0
    for match in escape.finditer(view.text):
        character = replace(match)
        pieces += (view.text[position : match.start()], character)
        length += match.start() - position + 1
        position = match.end()
        plain_ends.append(length)
        source_ends.append(position)
    if not pieces:
        return None
    pieces.append(view.text[position:])
    return View("".join(pieces), ((plain_ends, source_ends), *view.steps))


def _unescape(match: re.Match[str]) -> str:
    unicode, latin, character = match.groups()
    return chr(int(unicode or latin, 16)) if character is None else _CONTROL.get(character, character)


def _unquote(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _back(plain: list[int], source: list[int], position: int) -> int:
    index = bisect_right(plain, position) - 1
    return source[index] + position - plain[index]
