"""Secrets found by Kingfisher, in this process and without any network: by its own rules and by those of rules.yml.

The rules load once a process: some seconds the first time on a machine, less than half a second from then on.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.ingest.redaction.spans import Span
from pipelines.ingest.redaction.values import is_certain, is_value, looks_random

if TYPE_CHECKING:
    from kingfisher_sdk import Finding, Scanner

_RULES: Final = Path(__file__).with_name("rules.yml")
_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,60}(?:-----)?")
_PORT = re.compile(r"\d{1,5}(?:[/?#]|$)")


def _is_url_password(value: str) -> bool:
    return _PORT.match(value) is None and is_value(value)


_ACCEPT: Final[Mapping[str, Callable[[str], bool]]] = {
    "likely-key": looks_random,
    "url-password": _is_url_password,
    "url-password-with-slash": _is_url_password,
    "url-user": is_certain,
    "url-parameter": is_certain,
    "authorization": is_certain,
    "cookie": lambda value: "=" in value,
    "user-option": lambda value: not value.isdigit() and is_value(value),
    "password-option": is_value,
    "element": is_value,
}
"""Rules whose matches are secrets only if their values are."""


@cache
def load() -> "Scanner":
    """The scanner with all rules."""
    from kingfisher_sdk import Rules, Scanner

    # No detection policy: with one, a comment in the text itself could switch a finding off.
    return Scanner(Rules([_RULES]))


def find(text: str) -> list[Span]:
    """Secrets of the text, components of one (such as the id of a key pair) included; spans may overlap."""
    spans = list(_find_private_keys(text))
    # NUL would make the scanner take the text for UTF-16 and count positions in another encoding.
    data = text.replace("\x00", " ").encode("utf-8", "replace")
    findings = load().scan(data)
    if not findings:
        return spans
    at = _character_positions(data, findings) if len(data) != len(text) else None
    for finding in findings:
        location = finding.location
        start, end = location["start_offset"], location["end_offset"]
        if at is not None:
            start, end = at[start], at[end]
        rule = _rule_name(finding.rule_id)
        if start < end and _ACCEPT.get(rule, bool)(finding.secret):
            spans.append(Span(start, end, rule, finding.secret))
    return spans


def _find_private_keys(text: str) -> Iterator[Span]:
    """Private keys, to the end of the text where they are cut."""
    position = 0
    while (position := text.find("-----BEGIN ", position)) >= 0:
        if head := _PRIVATE_KEY.match(text, position):
            closing = _PRIVATE_KEY_END.search(text, head.end())
            end = closing.end() if closing else len(text)
            yield Span(position, end, "private-key", text[position:end])
            position = end
        else:
            position += 1


def _rule_name(rule_id: str) -> str:
    """``namespace.github-pat`` → ``github-pat``, in the characters that a replacement may hold."""
    name = rule_id.partition(".")[2] or rule_id
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())[:60]


def _character_positions(data: bytes, findings: "list[Finding]") -> dict[int, int]:
    """Byte offset → character offset for the ends of all findings."""
    positions: dict[int, int] = {}
    last = characters = 0
    for offset in sorted({f.location[key] for f in findings for key in ("start_offset", "end_offset")}):
        characters += len(data[last:offset].translate(None, _CONTINUATION_BYTES))
        positions[offset] = characters
        last = offset
    return positions
