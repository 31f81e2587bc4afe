"""Secrets known by their full form, found by Kingfisher's rules in this process, without any network.

The rules load once a process: some seconds the first time on a machine, a third of a second from then on.
"""

from functools import cache
from typing import TYPE_CHECKING

from pipelines.ingest.redaction.spans import Span

if TYPE_CHECKING:
    from kingfisher_sdk import Finding, Scanner

_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))


@cache
def _scanner() -> "Scanner":
    from kingfisher_sdk import Rules, Scanner

    # No detection policy: with one, a comment in the text itself could switch a finding off.
    return Scanner(Rules())


def find(text: str) -> list[Span]:
    """Secrets of the text, components of one (such as the id of a key pair) included; spans may overlap."""
    # NUL would make the scanner take the text for UTF-16 and count positions in another encoding.
    data = text.replace("\x00", " ").encode("utf-8", "replace")
    findings = _scanner().scan(data)
    if not findings:
        return []
    at = _character_positions(data, findings) if len(data) != len(text) else None
    spans = []
    for finding in findings:
        location = finding.location
        start, end = location["start_offset"], location["end_offset"]
        if at is not None:
            start, end = at[start], at[end]
        if start < end:
            spans.append(Span(start, end, _rule_name(finding.rule_id), finding.secret))
    return spans


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
