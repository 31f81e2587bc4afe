"""What the warehouse would refuse of a record, said before it is tried, so that one bad record costs no document."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec

from pipelines.sources.outputs import Iteration, Outcome, Place, Run, Sample, Scale, Scenario, Simulation, ToolUse

EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=7)
"""How far the clock of a document may be ahead of ours."""
MAX_CONFIG_BYTES = 1 << 20
MAX_INTEGER = 2**31 - 1
MAX_AMOUNT = 10**15
_PLACE = frozenset(Place.__struct_fields__)
_NEGATIVE = frozenset(
    {
        "score_raw",
        "initial_score_raw",
        "final_score_raw",
        "reported_best_score_raw",
        "overall_score_raw",
        "avg_score",
    }
)
_SMALL = frozenset({"iteration", "sample_index", "epoch", "retry_count", "step_count", "max_retries"})
_SPANS = (
    ("start_time", "end_time"),
    ("iteration_start_time", "iteration_end_time"),
    ("started_at", "completed_at"),
)


class Problem(msgspec.Struct, frozen=True):
    """Why a record is not taken."""

    reason: str
    detail: str


def problem(record: Run | Iteration | Sample | Scenario | Simulation | Outcome, now: datetime) -> Problem | None:
    """The first thing wrong with the record, None where it can be stored."""
    return next(_problems(record, now), None)


def name_of(record: Run | Iteration | Sample | Scenario | Simulation | Outcome) -> str:
    """The record in words, as a message names it."""
    match record:
        case Run():
            return f"Run {record.key!r}"
        case Iteration():
            return f"Iteration {record.iteration} of run {record.run_key!r}"
        case Sample():
            return f"Sample {record.sample_index} of iteration {record.iteration} of run {record.run_key!r}"
        case Scenario():
            return f"Scenario {record.scenario_id!r}"
        case Simulation():
            return f"Simulation {record.key!r}"
        case Outcome():
            return (
                f"The outcome of {record.scenario_id!r} (epoch {record.epoch}) in simulation {record.simulation_key!r}"
            )


def _problems(record: Run | Iteration | Sample | Scenario | Simulation | Outcome, now: datetime) -> Iterator[Problem]:
    name = name_of(record)
    try:
        msgspec.convert(msgspec.structs.asdict(record), type(record))
    except msgspec.ValidationError as error:
        yield Problem("invalid_value", f"{name} cannot be stored: {error}.")
        return
    for field in record.__struct_fields__:
        value = getattr(record, field)
        if field in _PLACE or value is None or isinstance(value, bool):
            continue
        if isinstance(value, datetime):
            yield from _date(name, field, value, now)
        elif isinstance(value, int | float):
            yield from _number(name, field, value)
    yield from _scale(name, record)
    for first, last in _SPANS:
        start, end = getattr(record, first, None), getattr(record, last, None)
        if start is not None and end is not None and end < start:
            yield Problem(
                "ends_before_start", f"{name} ends at {end.isoformat()}, before it starts at {start.isoformat()}."
            )
    match record:
        case Run():
            yield from _sample_counts(name, record.samples_evaluated, record.successful_samples, record.failed_samples)
        case Iteration():
            yield from _sample_counts(name, record.samples_in_iteration, record.successful_samples, None)
            if any(parent >= record.iteration for parent in record.parent_iterations):
                yield Problem("invalid_lineage", f"{name} descends from an iteration that is not earlier than it.")
        case Simulation() if record.config_yaml is not None:
            size = len(record.config_yaml.encode("utf-8", "surrogatepass"))
            if size > MAX_CONFIG_BYTES:
                yield Problem(
                    "configuration_too_large",
                    f"{name} has a configuration of {size / 1e6:.1f} MB; {MAX_CONFIG_BYTES >> 20} MiB is the most.",
                )
        case Outcome():
            if record.epoch < 1:
                yield Problem("invalid_value", f"{name}: epochs count from 1.")
            for number, tool in enumerate(record.tools, 1):
                yield from _tool(f"{name}, tool call {number}", tool)


def _date(name: str, field: str, value: datetime, now: datetime) -> Iterator[Problem]:
    if value.tzinfo is None:
        yield Problem("timestamp_without_zone", f"{name}: {field} is {value.isoformat()}, without a time zone.")
    elif not EARLIEST <= value <= now + AHEAD:
        yield Problem(
            "timestamp_out_of_range",
            f"{name}: {field} is {value.isoformat()}; {EARLIEST.date()} to {(now + AHEAD).date()} can be.",
        )


def _number(name: str, field: str, value: float) -> Iterator[Problem]:
    if not math.isfinite(value):
        yield Problem("invalid_value", f"{name}: {field} is {value}, which is no number.")
    elif value < 0 and field not in _NEGATIVE:
        yield Problem("invalid_value", f"{name}: {field} is {value}, and cannot be negative.")
    elif abs(value) > (MAX_INTEGER if field in _SMALL else MAX_AMOUNT) and field not in _NEGATIVE:
        yield Problem("invalid_value", f"{name}: {field} is {value}, which is too large.")


def _tool(name: str, tool: ToolUse) -> Iterator[Problem]:
    for field in ("duration_ms", "cost_usd"):
        if (value := getattr(tool, field)) is not None:
            yield from _number(name, field, value)


def _scale(name: str, record: msgspec.Struct) -> Iterator[Problem]:
    scale: Scale | None = getattr(record, "score_scale", None)
    if scale is None:
        return
    low, high = scale
    if low is not None and high is not None and not low < high:
        yield Problem("invalid_scale", f"{name}: the scale from {low:g} to {high:g} is empty.")


def _sample_counts(name: str, total: int | None, solved: int | None, failed: int | None) -> Iterator[Problem]:
    if (solved is not None or failed is not None) and (total is None or total < (solved or 0) + (failed or 0)):
        yield Problem(
            "samples_do_not_add_up",
            f"{name} counts {solved or 0} solved and {failed or 0} failed samples, but {total or 'no'} samples.",
        )
