"""Results of home-made evaluations: one JSON object a line, documented in ``docs/formats/evaluation-jsonl.md``.

The format is ours, so it is strict: a field that it does not know is a mistake somebody wants to hear of.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from pipelines.sources import yaml_text
from pipelines.sources.documents import Document
from pipelines.sources.json_documents import BROKEN_STREAM, leading_keys, opened
from pipelines.sources.lines import SAMPLE_BYTES, Item, UnusableLine, in_utc, read_objects
from pipelines.sources.outputs import (
    UNIT,
    Failure,
    FailureCategory,
    Outcome,
    OutcomeStatus,
    ProjectId,
    Record,
    RunStatus,
    Scale,
    Scenario,
    Simulation,
    ToolUse,
    ToolUseStatus,
    Unreadable,
    scenario_id,
)
from pipelines.sources.records import BadLine
from pipelines.sources.steps import bounded, cut

_SCENARIO_ID = re.compile(r"[a-z0-9_][a-z0-9_.:/-]{0,199}")
_LARGE = re.compile(rb'\{\s*"type"\s*:\s*"simulation"')
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Amount = Annotated[float, msgspec.Meta(ge=0)]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """One line."""


class _Simulation(_Strict, tag="simulation"):
    id: _Id
    config: dict[str, Any] | str
    """An object, or YAML as text."""
    config_name: str | None = None
    name: str | None = None
    status: RunStatus = "completed"
    started_at: datetime | None = None
    completed_at: datetime | None = None
    scenarios: list[_Id] = []
    score: float | None = None
    score_scale: Scale = UNIT
    cost_usd: _Amount | None = None
    timeout_ms: _Count | None = None
    max_retries: _Count | None = None
    metadata: dict[str, Any] = {}
    project: ProjectId | None = None


class _Scenario(_Strict, tag="scenario"):
    id: _Id
    name: str | None = None
    prompt: str | None = None
    expected: Any = None
    expected_tools: list[str] | None = None
    difficulty: Literal["easy", "medium", "hard"] | None = None
    tags: list[str] = []
    dataset: str | None = None
    project: ProjectId | None = None


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    status: ToolUseStatus | None = None
    started_at: datetime | None = None
    duration_ms: _Amount | None = None
    cost_usd: _Amount | None = None
    error: str | None = None


class _Outcome(_Strict, tag="outcome"):
    scenario: _Id
    simulation: _Id | None = None
    """None: that of the last line before which describes one."""
    epoch: Annotated[int, msgspec.Meta(ge=1)] = 1
    time: datetime | None = None
    status: OutcomeStatus | None = None
    score: float | bool | None = None
    score_scale: Scale | None = None
    passed: bool | None = None
    duration_ms: _Amount | None = None
    model: str | None = None
    input_tokens: _Count | None = None
    cache_read_tokens: _Count | None = None
    cache_creation_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cost_usd: _Amount | None = None
    answer: Any = None
    steps: list[dict[str, Any]] = []
    tools: list[_Tool] = []
    metrics: dict[str, Any] = {}
    retries: _Count = 0
    error: str | None = None
    error_type: str | None = None
    error_category: FailureCategory | None = None
    project: ProjectId | None = None


_Line = _Simulation | _Scenario | _Outcome


class _Type(msgspec.Struct):
    """What tells a line of this format."""

    type: str
    id: Any = None
    config: Any = None
    prompt: Any = None
    name: Any = None
    simulation: Any = None
    scenario: Any = None


_decode = msgspec.json.Decoder(_Line).decode
_decode_type = msgspec.json.Decoder(_Type).decode


def matches(path: Path, head: bytes) -> bool:
    """Whether the first object of the file is a line of this format."""
    if b'"type"' not in head:
        return False
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first, newline, _ = head.partition(b"\n")
    try:
        line = _decode_type(first)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # A first line longer than the head: only a large configuration makes one.
        return not newline and _LARGE.match(head) is not None and leading_keys(head) >= {"type", "id", "config"}
    match line.type:
        case "simulation":
            return line.id is not None and line.config is not None
        case "scenario":
            return line.id is not None and (line.name is not None or line.prompt is not None)
        case "outcome":
            return line.scenario is not None
    return False


def read(document: Document) -> Iterator[Record]:
    """Records of the file, line by line. Raises Unreadable."""
    reader = _Reader(document.modified_at)
    with opened(document.path) as stream:
        try:
            for item in read_objects(stream, _decode, _decode, offset=0, lines=0):
                if isinstance(item.value, BadLine):
                    yield item.value
                elif item.value is not None:
                    yield reader.record(item)
        except BROKEN_STREAM as error:
            raise Unreadable(f"It cannot be read to its end ({error}); copy it again.") from error


class _Misfit(ValueError):
    """A line that does not fit to the others, or whose configuration is not taken."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Reader:
    """Turns lines into records; outcomes belong to the simulation described last."""

    def __init__(self, modified_at: datetime) -> None:
        self.modified_at = modified_at
        self.simulations: dict[str, Simulation] = {}
        self.current: str | None = None
        self.attempts: set[tuple[str, str, int]] = set()

    def record(self, item: Item) -> Record:
        """The line's record, or why it has none."""
        try:
            record = self._of(item.value)
        except (UnusableLine, _Misfit) as error:
            return BadLine(
                item.number, item.offset, len(item.line), error.reason, str(error), bytes(item.line[:SAMPLE_BYTES])
            )
        record.line, record.offset = item.number, item.offset
        return record

    def _of(self, line: _Line) -> Simulation | Scenario | Outcome:
        match line:
            case _Simulation():
                return self._simulation(line)
            case _Scenario():
                return _scenario(line)
            case _Outcome():
                return self._outcome(line)

    def _simulation(self, line: _Simulation) -> Simulation:
        config, text = _config(line)
        self.current = line.id
        self.simulations[line.id] = Simulation(
            project=line.project,
            key=line.id,
            config_name=line.config_name or str(config.get("name") or config.get("model") or "unnamed"),
            config=config,
            config_yaml=text,
            name=line.name or line.id,
            status=line.status,
            overall_score_raw=line.score,
            score_scale=line.score_scale,
            total_cost_usd=line.cost_usd,
            timeout_ms=line.timeout_ms,
            max_retries=line.max_retries,
            started_at=_utc(line.started_at),
            completed_at=_utc(line.completed_at),
            planned_scenarios=[_scenario_id(name) for name in line.scenarios],
            metadata=line.metadata,
        )
        return self.simulations[line.id]

    def _outcome(self, line: _Outcome) -> Outcome:
        simulation = line.simulation or self.current
        if simulation is None:
            raise _Misfit(
                "unknown_simulation",
                f"The outcome of {line.scenario!r} names no simulation and no line before it describes one; begin the "
                'file with a line of type "simulation".',
            )
        scenario = _scenario_id(line.scenario)
        attempt = (simulation, scenario, line.epoch)
        if attempt in self.attempts:
            raise _Misfit(
                "duplicate_outcome",
                f"Epoch {line.epoch} of {line.scenario!r} in {simulation!r} is there twice; the first is loaded. "
                'Number repetitions with "epoch".',
            )
        self.attempts.add(attempt)
        known = self.simulations.get(simulation)
        steps = [
            {name: cut(value) if isinstance(value, str) else value for name, value in step.items()}
            for step in line.steps
        ]
        failure = (
            Failure(message=line.error, failure_type=line.error_type, category=line.error_category)
            if line.error
            else None
        )
        return Outcome(
            project=line.project,
            simulation_key=simulation,
            scenario_id=scenario,
            epoch=line.epoch,
            execution_time=_utc(line.time) or self.modified_at,
            status=line.status or ("error" if line.error else "success"),
            score_raw=None if line.score is None else float(line.score),
            score_scale=line.score_scale or (known.score_scale if known else UNIT),
            is_passed=line.passed,
            execution_time_ms=line.duration_ms,
            model=line.model or _model_of(known),
            input_tokens=line.input_tokens,
            cache_read_tokens=line.cache_read_tokens,
            cache_creation_tokens=line.cache_creation_tokens,
            output_tokens=line.output_tokens,
            cost_usd=line.cost_usd,
            trajectory=bounded(steps, answer=cut(line.answer) if isinstance(line.answer, str) else line.answer),
            step_count=len(steps) if steps else None,
            metrics=line.metrics,
            retry_count=line.retries,
            error_code=line.error_type,
            tools=[_tool(tool) for tool in line.tools],
            failures=[failure] if failure else [],
        )


def _config(line: _Simulation) -> tuple[dict[str, Any], str | None]:
    """The settings, and the YAML in which they were written."""
    if isinstance(line.config, str):
        try:
            return yaml_text.mapping(line.config), line.config
        except yaml_text.Refused as error:
            raise _Misfit("configuration_refused", f"The configuration of {line.id!r} is refused: {error}.") from error
    size = len(msgspec.json.encode(line.config))
    if size > yaml_text.MAX_BYTES:
        raise _Misfit(
            "configuration_too_large",
            f"The configuration of {line.id!r} has {size / 1e6:.1f} MB; at most {yaml_text.MAX_BYTES >> 20} MiB is "
            "taken. Leave data out of it.",
        )
    return line.config, None


def _model_of(simulation: Simulation | None) -> str | None:
    model = simulation.config.get("model") if simulation else None
    return model if isinstance(model, str) else None


def _scenario(line: _Scenario) -> Scenario:
    return Scenario(
        project=line.project,
        scenario_id=_scenario_id(line.id),
        name=line.name or line.id,
        task_prompt=line.prompt,
        ground_truth=line.expected,
        difficulty_level=line.difficulty,
        tags=line.tags,
        expected_tools=line.expected_tools,
        dataset=line.dataset,
        source_id=line.id,
    )


def _tool(tool: _Tool) -> ToolUse:
    return ToolUse(
        tool_name=tool.name,
        status=tool.status or ("error" if tool.error else "ok"),
        started_at=_utc(tool.started_at),
        duration_ms=tool.duration_ms,
        cost_usd=tool.cost_usd,
        error_message=tool.error,
    )


def _scenario_id(name: str) -> str:
    """The id as it is written where that is one, so that any scenario of the project can be named."""
    return name if _SCENARIO_ID.fullmatch(name) else scenario_id("evaluation", name)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else in_utc(moment)
