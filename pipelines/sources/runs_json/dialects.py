"""What a value of a document holds: runs, iterations and samples, whatever they are wrapped in and however named.

Two dialects are in use (docs/formats/runs-json.md); both come in camelCase, as an API answers, and snake_case, as a
table is exported. Only names of fields are translated, never what is inside ``config``, ``params`` and the like.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.sources.outputs import Place, RunStatus

Kind = Literal["run", "iteration", "sample", "unknown"]

STATUSES: tuple[RunStatus, ...] = ("pending", "running", "completed", "failed", "cancelled")

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CONTAINERS = ("data", "runs", "iterations", "samples")
_RENAMED = {"iteration_number": "iteration", "name": "run_name", "started_at": "start_time"} | dict.fromkeys(
    ("completed_at", "ended_at", "finished_at"), "end_time"
)


@dataclass(frozen=True)
class Part:
    """One record as given: its fields by their names in snake_case, without what is nested in it."""

    kind: Kind
    where: str
    """In words."""
    line: int
    offset: int
    given: dict[str, Any] | None
    """None for a value that is no object."""


def parts_of(value: Any, where: str, place: Place, parent: dict[str, Any] | None = None) -> Iterator[Part]:
    """All records in ``value``; ``parent`` holds the names of the run and iteration that it is nested in."""
    if isinstance(value, list):
        for number, entry in enumerate(value, 1):
            yield from parts_of(entry, f"{where}, entry {number}", place, parent)
        return
    if not isinstance(value, dict):
        yield Part("unknown", where, place.line, place.offset, None)
        return
    fields = canonical(value)
    kind = _kind_of(fields)
    nested = {name: fields.pop(name) for name in _CONTAINERS if isinstance(fields.get(name), list | dict)}
    if kind == "unknown" and isinstance(fields.get("run"), dict):
        run = canonical(fields["run"])
        nested = {name: run.pop(name) for name in _CONTAINERS if isinstance(run.get(name), list | dict)} | nested
        fields, kind = run, "run"
    if kind == "unknown" and nested:
        below = parent
    else:
        fields = (parent or {}) | {name: given for name, given in fields.items() if given is not None}
        yield Part(kind, where, place.line, place.offset, fields)
        below = _names_of(kind, fields)
    for name, values in nested.items():
        yield from parts_of(values, f"{where}, {name}" if name != "data" else where, place, below)


def looks_like_run_data(value: Any) -> bool:
    """Whether the value, or the first thing in it, can be nothing but a run, an iteration or a sample."""
    while True:
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, dict):
            return False
        fields = canonical(value)
        if _is_certain(fields):
            return True
        value = next(
            (fields[name] for name in ("run", *_CONTAINERS) if isinstance(fields.get(name), list | dict)), None
        )


def canonical(value: dict[str, Any]) -> dict[str, Any]:
    """The fields by the names of the first dialect, in snake_case."""
    fields: dict[str, Any] = {}
    for given, content in value.items():
        name = _HUMP.sub("_", given).lower()
        name = _RENAMED.get(name, name)
        if fields.get(name) is None:
            fields[name] = content
    return fields


def _kind_of(fields: dict[str, Any]) -> Kind:
    if "sample_index" in fields:
        return "sample"
    if "iteration" in fields:
        return "iteration"
    if fields.keys() & {"run_name", "optimizer_type", "status", "config", "final_score"}:
        return "run"
    return "unknown"


def _names_of(kind: Kind, fields: dict[str, Any]) -> dict[str, Any]:
    """What records nested in this one inherit."""
    if kind == "run":
        return {"run_id": run_key(fields)}
    return {name: fields[name] for name in ("run_id", "iteration") if name in fields}


def run_key(fields: dict[str, Any]) -> str | None:
    """Identity of a run: its id, else its name with when it began; None where it has neither."""
    for name in ("id", "run_id"):
        if isinstance(fields.get(name), str | int):
            return str(fields[name])
    if isinstance(fields.get("run_name"), str):
        return f"{fields['run_name']}@{fields.get('start_time') or fields.get('created_at') or ''}"
    return None


def _is_certain(fields: dict[str, Any]) -> bool:
    names = fields.keys()
    if "optimizer_type" in names:
        return bool(names & {"run_name", "id", "run_id"})
    if "run_id" in names and "iteration" in names:
        return bool(names & {"score", "score_raw", "params", "sample_index", "tokens_used"})
    return "run_name" in names and (fields.get("status") in STATUSES or isinstance(fields.get("config"), dict))
