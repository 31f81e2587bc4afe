"""YAML that strangers wrote, as plain JSON-like values: bounded in size, depth and in what aliases multiply.

The text is first read as events, which costs no more than its length, so nothing is built of a text that is refused.
"""

import math
from collections.abc import Iterator
from datetime import date
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 100
MAX_EXPANDED = 4 << 20
"""Characters and values after every alias has been replaced by what it stands for."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Refused(ValueError):
    """A text that is not taken; the message says why and what to do."""


def parse(text: str) -> Any:
    """The one document of ``text``; dates become text. Raises Refused."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise Refused(
            f"the YAML has {size / 1e6:.1f} MB; at most {MAX_BYTES >> 20} MiB is taken. Leave data out of it."
        )
    try:
        _measure(yaml.parse(text, Loader=_LOADER))
        return _plain(yaml.load(text, Loader=_LOADER))  # noqa: S506  # a safe loader, with libyaml where it is there
    except yaml.YAMLError as error:
        raise Refused(f"the YAML cannot be read: {_in_one_line(error, text)}") from error
    except (ValueError, OverflowError, UnicodeError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"the YAML holds a value that cannot be read: {error}") from error


def mapping(text: str) -> dict[str, Any]:
    """The document of ``text``, which has to be a mapping. Raises Refused."""
    value = parse(text)
    if not isinstance(value, dict):
        raise Refused("the YAML is no mapping; write lines such as 'model: name-of-the-model'")
    return value


def _measure(events: Iterator[Any]) -> None:
    """Raises Refused for what would be too deep or too large."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Refused("the YAML holds several documents; write one")
            continue
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, 1))
            if len(open_nodes) > MAX_DEPTH:
                raise Refused(f"the YAML is nested more than {MAX_DEPTH} levels deep")
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, len(event.value) + 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise Refused(f"the YAML alias *{event.anchor} stands for nothing, or for what it is a part of")
            anchor, size = None, sizes[event.anchor]
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        above, total = open_nodes.pop()
        if total + size > MAX_EXPANDED:
            raise Refused("the YAML's aliases multiply to more than is taken; write out what is meant")
        open_nodes.append((above, total + size))


def _plain(value: Any) -> Any:
    """What JSON can hold: keys and dates as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(member) for member in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        raise Refused("the YAML holds binary data; leave it out")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _in_one_line(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    # What is missing at the end is missed on the line after it.
    return f"{problem} (line {min(mark.line, text.count(chr(10))) + 1} of it)" if mark else problem
