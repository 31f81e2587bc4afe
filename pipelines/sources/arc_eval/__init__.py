"""Outputs that arc-eval evaluates: results of scenarios, and traces of workflows.

They are told apart by their keys, for the files have no version. ``results`` reads lists of ``{scenario_id, output}``
with or without a trace; ``traces`` reads one workflow a file, as a list of steps, as a report of its failure, or as a
list of tool calls that did not fit their definition. No file holds a score: whether an answer is right is what
arc-eval finds out later.
"""

from collections.abc import Iterator
from pathlib import Path

from pipelines.sources.documents import Document
from pipelines.sources.json_documents import leading_keys, load
from pipelines.sources.outputs import Record, Unreadable

from . import results, traces

_HEAD_BYTES = 64 << 10
_LISTS = (
    (frozenset({"scenario_id", "output", "metadata"}), results.read),
    (frozenset({"scenario_id", "output", "trace"}), results.read),
    (frozenset({"step", "framework", "tool_call", "success"}), traces.read_steps),
    (frozenset({"step", "framework", "task", "status"}), traces.read_steps),
    (frozenset({"tool_definition", "llm_output", "mismatch_type"}), traces.read_mismatches),
)
_REPORT = frozenset({"trace_id", "agent", "framework", "status", "intermediate_steps"})


def matches(path: Path, head: bytes) -> bool:
    """Whether the file holds outputs for arc-eval."""
    keys = leading_keys(head)
    if head.lstrip()[:1] == b"{":
        return keys >= _REPORT
    return any(keys >= known for known, _ in _LISTS)


def read(document: Document) -> Iterator[Record]:
    """All that the file holds. Raises Unreadable."""
    data = load(document.path)
    keys = leading_keys(data[:_HEAD_BYTES])
    if data.lstrip()[:1] == b"{" and keys >= _REPORT:
        return traces.read_report(document, data)
    for known, read_list in _LISTS:
        if data.lstrip()[:1] == b"[" and keys >= known:
            return read_list(document, data)
    raise Unreadable("It holds neither results of scenarios nor a trace; give a file that arc-eval takes.")
