"""What changed between two versions of a configuration: for people as a unified diff, for queries as paths and values.

Pure functions over the text and the parsed object of two versions. The work is bounded whatever the text: comparing
lines costs the square of their number, so a very long stretch of differing lines is shown as replaced whole, which is
still a correct diff.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

LONGEST_DIFF_BYTES = 524_288
"""Longer diffs are left out: both versions are stored."""

_MOST_COMPARED_LINES = 2_000
_DEEPEST_PATH = 60


class ConfigVersion(msgspec.Struct, frozen=True):
    """One version of a configuration, as ``raw.config_versions`` holds it."""

    number: int
    raw_yaml: str
    parsed_config: dict[str, Any]


class ConfigDiff(msgspec.Struct, frozen=True):
    """The difference, as ``raw.config_diffs`` holds it."""

    diff_yaml: str | None
    """None where it would be longer than LONGEST_DIFF_BYTES."""
    change_summary: dict[str, Any]
    """``added`` and ``removed`` hold values by path, ``changed`` pairs of before and after."""


def config_diff(before: ConfigVersion, after: ConfigVersion) -> ConfigDiff:
    """The change from one version to a later one of the same configuration. Raises ValueError for another order."""
    if before.number >= after.number:
        raise ValueError(
            f"Version {after.number} does not follow version {before.number}: give the earlier version first."
        )
    text = unified_diff(before.raw_yaml, after.raw_yaml, f"version {before.number}", f"version {after.number}")
    return ConfigDiff(
        diff_yaml=text if len(text.encode()) <= LONGEST_DIFF_BYTES else None,
        change_summary=change_summary(before.parsed_config, after.parsed_config),
    )


def unified_diff(before: str, after: str, name_before: str, name_after: str, context: int = 3) -> str:
    """Unified diff of two texts, as ``patch`` takes it; empty where they are equal."""
    if before == after:
        return ""
    old, new = _lines(before), _lines(after)
    lines: list[str] = []
    for line in _hunks(old, new, context):
        lines.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return f"--- {name_before}\n+++ {name_after}\n{''.join(lines)}"


def change_summary(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Values that came, went or changed, by their paths as JSON Pointers (RFC 6901).

    What was put in or taken out whole is given whole. Lists are values: an element has no name that lasts.
    """
    summary: dict[str, Any] = {"added": {}, "removed": {}, "changed": {}}
    for kind, path, value in _changes(before, after, "", 0):
        summary[kind][path] = value
    return summary


def _lines(text: str) -> list[str]:
    """Split at line feeds only: YAML and ``patch`` know no other ends of lines."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _hunks(old: Sequence[str], new: Sequence[str], context: int) -> Iterator[str]:
    for group in _groups(old, new, context):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first.old.start, last.old.stop)} +{_range(first.new.start, last.new.stop)} @@\n"
        for stretch in group:
            if stretch.is_equal:
                yield from (f" {line}" for line in old[stretch.old])
            else:
                yield from (f"-{line}" for line in old[stretch.old])
                yield from (f"+{line}" for line in new[stretch.new])


class _Stretch(NamedTuple):
    is_equal: bool
    old: slice
    new: slice


def _groups(old: Sequence[str], new: Sequence[str], context: int) -> Iterator[list[_Stretch]]:
    """Changes that lie close together, with equal lines around them; equal beginnings and ends are not compared."""
    shortest = min(len(old), len(new))
    head = next((i for i in range(shortest) if old[i] != new[i]), shortest)
    tail = next((i for i in range(shortest - head) if old[-1 - i] != new[-1 - i]), shortest - head)
    before, after = min(head, context), min(tail, context)
    start, old_end, new_end = head - before, len(old) - tail + after, len(new) - tail + after
    if max(old_end, new_end) - start > _MOST_COMPARED_LINES:
        yield [
            _Stretch(True, slice(start, head), slice(start, head)),
            _Stretch(False, slice(head, old_end - after), slice(head, new_end - after)),
            _Stretch(True, slice(old_end - after, old_end), slice(new_end - after, new_end)),
        ]
        return
    matcher = difflib.SequenceMatcher(None, old[start:old_end], new[start:new_end], autojunk=False)
    for group in matcher.get_grouped_opcodes(context):
        yield [
            _Stretch(tag == "equal", slice(start + a, start + b), slice(start + c, start + d))
            for tag, a, b, c, d in group
        ]


def _range(start: int, end: int) -> str:
    """Line numbers as a hunk's head gives them: an empty range names the line before it."""
    length = end - start
    return str(start + 1) if length == 1 else f"{start + 1 if length else start},{length}"


def _changes(before: dict[str, Any], after: dict[str, Any], path: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    for key in sorted(before.keys() | after.keys()):
        below = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in after:
            yield "removed", below, before[key]
        elif key not in before:
            yield "added", below, after[key]
        else:
            old, new = before[key], after[key]
            if isinstance(old, dict) and isinstance(new, dict) and depth < _DEEPEST_PATH:
                yield from _changes(old, new, below, depth + 1)
            elif old != new or type(old) is not type(new):
                yield "changed", below, [old, new]
