"""Word → class of word (path, issue, number, URL, UUID, other text): all that a signature may say about a value."""

import re
from typing import Final

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d{1,18}(?:[.,]\d{1,18})?%?")
_ISSUE = re.compile(r"(?:[\w.-]{1,40}/[\w.-]{1,100})?#\d{1,9}|[A-Z][A-Z0-9]{1,9}-\d{1,7}|[Gg][Hh]-\d{1,7}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,20}://|www\.", re.IGNORECASE)
_FILE = re.compile(r"[\w.-]{1,100}\.[A-Za-z][A-Za-z0-9]{0,4}")

CLASSES: Final = ("<issue>", "<num>", "<path>", "<str>", "<url>", "<uuid>")
REFERENCES: Final = frozenset({"<issue>", "<path>", "<url>", "<uuid>"})
"""Classes of words that point at something to work on."""


def class_of(word: str) -> str:
    """The class of one word, one of ``CLASSES``."""
    if word.isalpha():
        return "<str>"
    if _URL.match(word):
        return "<url>"
    if word[0] in "@~./" or "/" in word or "\\" in word:
        return "<issue>" if _ISSUE.fullmatch(word) else "<path>"
    if word[0] in "0123456789+-" and _NUMBER.fullmatch(word):
        return "<num>"
    if len(word) == 36 and _UUID.fullmatch(word):
        return "<uuid>"
    if ("#" in word or "-" in word) and _ISSUE.fullmatch(word):
        return "<issue>"
    if "." in word and _FILE.fullmatch(word):
        return "<path>"
    return "<str>"


def count_classes(words: list[str]) -> dict[str, int]:
    """How many words are of each class, classes without words left out."""
    counts: dict[str, int] = {}
    for word in words:
        name = class_of(word)
        counts[name] = counts.get(name, 0) + 1
    return counts
