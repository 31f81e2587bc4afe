"""Fields as given → records: what each is called there, which texts are times and scales, what stays as metadata."""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from pipelines.sources.outputs import PERCENT, PROJECT_ID, UNBOUNDED, UNIT, Iteration, Run, Sample, Scale

from .dialects import STATUSES, Part, run_key

_RUN_NAMES = {
    "run_name": "name",
    "optimizer": "optimizer_type",
    "initial_score": "initial_score_raw",
    "final_score": "final_score_raw",
    "best_score": "reported_best_score_raw",
    "best_score_raw": "reported_best_score_raw",
    "iterations": "reported_iterations",
    "iterations_count": "reported_iterations",
    "total_tokens": "reported_tokens",
    "total_cost_usd": "reported_cost_usd",
    "total_cost": "reported_cost_usd",
    "project_id": "project",
}
_ITERATION_NAMES = {
    "run_id": "run_key",
    "score": "score_raw",
    "start_time": "iteration_start_time",
    "end_time": "iteration_end_time",
    "project_id": "project",
}
_SAMPLE_NAMES = {"run_id": "run_key", "score": "score_raw", "project_id": "project"}
_RECKONED = frozenset(
    {"id", "key", "duration_ms", "improvement", "improvement_pct", "improvement_raw", "normalised_gain", "is_best",
     "updated_at", "ingested_at", "iteration_id", "best_iteration", "line", "offset"}
)  # fmt: skip
"""What the warehouse finds out by itself."""
_TIMES = frozenset({"start_time", "end_time", "created_at", "iteration_start_time", "iteration_end_time"})
_SCALES: dict[str, Scale] = {"unit": UNIT, "percent": PERCENT, "unbounded": UNBOUNDED}
_PROJECT = re.compile(PROJECT_ID)
_RANGE = re.compile(r"[\[(]\s*(-?[\d.eE+-]*)\s*,\s*(-?[\d.eE+-]*)\s*[\])]")

T = TypeVar("T", Run, Iteration, Sample)


class BadPart(ValueError):
    """A part that is no usable record; the message says why, as the end of a sentence."""

    def __init__(self, part: Part, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.part = part
        self.reason = reason


class Runs:
    """The runs of one document, each brought together from all its parts: what is said later completes or replaces."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}
        self._bad: list[BadPart] = []
        self._keys: dict[str, str] = {}

    def add(self, part: Part) -> None:
        """Takes a run, or more about one, in."""
        given = part.given or {}
        key = run_key(given)
        if key is None:
            self._bad.append(BadPart(part, "run_without_name", "the run has neither an id nor a name"))
            return
        if isinstance(name := given.get("run_name"), str):
            self._keys.setdefault(name, key)
        known = self._parts.get(key)
        self._parts[key] = part if known is None else _completed(known, given)

    def key_of(self, name: str) -> str:
        """Key of the run that a part names by its id or, where no run has this id, by its name."""
        return name if name in self._parts else self._keys.get(name, name)

    def finished(self) -> Iterator[Run | BadPart]:
        """The runs; those that cannot be used say why."""
        yield from self._bad
        for key, part in self._parts.items():
            try:
                yield _run(key, part)
            except BadPart as bad:
                yield bad


def iteration_of(part: Part, runs: Runs) -> Iteration:
    """The iteration. Raises BadPart."""
    fields = _fields(part, Iteration, _ITERATION_NAMES)
    return _record(part, Iteration, fields | {"run_key": _run_named(part, fields, runs)})


def sample_of(part: Part, runs: Runs) -> Sample:
    """The sample, scored on its own scale, 0..1 where it names none. Raises BadPart."""
    fields = _fields(part, Sample, _SAMPLE_NAMES)
    if "iteration" not in fields:
        raise BadPart(part, "sample_without_iteration", "the sample does not say of which iteration it is")
    return _record(part, Sample, fields | {"run_key": _run_named(part, fields, runs)})


def _run(key: str, part: Part) -> Run:
    given = part.given or {}
    fields = _fields(part, Run, _RUN_NAMES)
    status = fields.get("status")
    if status is None:
        status = "completed" if fields.keys() & {"end_time", "final_score_raw"} else "pending"
    if status not in STATUSES:
        raise BadPart(part, "unknown_status", f"the status {status!r} is none of {', '.join(STATUSES)}")
    config = fields.get("config", {})
    named = config.get("optimizer") if isinstance(config, dict) else None
    defaults = {
        "name": str(given.get("run_name") or key),
        "optimizer_type": named if isinstance(named, str) else "custom",
    }
    return _record(part, Run, defaults | fields | {"key": key, "status": status})


def _completed(known: Part, more: dict[str, Any]) -> Part:
    return Part(known.kind, known.where, known.line, known.offset, (known.given or {}) | more)


def _run_named(part: Part, fields: dict[str, Any], runs: Runs) -> str:
    if not isinstance(fields.get("run_key"), str | int):
        raise BadPart(part, f"{part.kind}_without_run", f"the {part.kind} does not say of which run it is (run_id)")
    return runs.key_of(str(fields["run_key"]))


def _fields(part: Part, type_: type[T], names: dict[str, str]) -> dict[str, Any]:
    """Fields of the record; what it has no field for goes to its metadata."""
    known = frozenset(type_.__struct_fields__)
    fields: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for given, value in (part.given or {}).items():
        name = given if given in known else names.get(given, given)
        if given in _RECKONED:
            continue
        if name not in known:
            if given != "created_at":
                rest[given] = value
        elif name not in fields or given == name:
            fields[name] = _value(part, name, value)
    metadata = fields.get("metadata", {})
    if rest and isinstance(metadata, dict):
        fields["metadata"] = rest | metadata
    return fields


def _value(part: Part, name: str, value: Any) -> Any:
    if name in _TIMES:
        return _time(part, name, value)
    if name == "score_scale":
        return _scale(part, value)
    if name == "project" and not (isinstance(value, str) and _PROJECT.fullmatch(value)):
        raise BadPart(part, "bad_project", f"{value!r} is no project id; use lower-case letters, digits, '.', '-', '_'")
    if name == "latency_ms" and isinstance(value, float) and abs(value) < 2**53:
        return round(value)
    return value


def _time(part: Part, name: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise BadPart(part, "bad_timestamp", f"{name} is {value!r}, which is no time; write it as ISO 8601") from None


def _scale(part: Part, value: Any) -> Scale:
    if isinstance(value, str):
        if value in _SCALES:
            return _SCALES[value]
        if found := _RANGE.fullmatch(value.strip()):
            with suppress(ValueError):
                value = [float(end) if end else None for end in found.groups()]
    if (
        isinstance(value, list)
        and len(value) == 2
        and all(end is None or (isinstance(end, int | float) and not isinstance(end, bool)) for end in value)
    ):
        low, high = value
        return low, high
    raise BadPart(
        part, "invalid_scale", f"score_scale is {value!r}; write [0, 100], or null for an end without a bound"
    )


def _record(part: Part, type_: type[T], fields: dict[str, Any]) -> T:
    place = {"line": part.line, "offset": part.offset}
    try:
        return msgspec.convert(fields | place, type_, strict=False)
    except msgspec.ValidationError as error:
        raise BadPart(
            part, "unexpected_shape", f"a field of the {part.kind} does not hold what it should: {error}"
        ) from None
