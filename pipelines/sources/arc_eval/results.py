"""Results of scenarios: ``[{scenario_id, output, metadata}, …]``, or with framework, trace and performance.

A file is one simulation for each framework in it: what is compared is the agent, and a framework is all that is known
of it. A scenario that the same framework was put to before is another epoch.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from pipelines.sources.documents import Document
from pipelines.sources.json_documents import Element, bad_element, elements, moment, text_of
from pipelines.sources.lines import UnusableLine
from pipelines.sources.outputs import (
    Failure,
    Outcome,
    Record,
    Scenario,
    Simulation,
    content_hash,
    scenario_id,
    shown_name,
)
from pipelines.sources.steps import bounded, cut

from .trace import Step, steps_of, tools_of

DATASET = "arc-eval"


class _Trace(msgspec.Struct):
    steps: list[Step] = []
    total_duration_ms: float | None = None
    success: bool | None = None
    failure_point: str | None = None
    trace_id: str | None = None
    session_id: str | None = None


class _Tokens(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    """As reported; not always the sum of the others."""


class _Performance(msgspec.Struct):
    total_latency_ms: float | None = None
    token_usage: _Tokens | None = None
    cost_usd: float | None = None


class _Metadata(msgspec.Struct):
    agent_id: str | None = None
    timestamp: str | None = None
    reasoning: str | None = None


class _Result(msgspec.Struct):
    scenario_id: str | int
    output: Any = None
    scenario: str | None = None
    timestamp: str | None = None
    framework: str | None = None
    expected_to_fail: bool | None = None
    category: str | None = None
    severity: str | None = None
    trace: _Trace | None = None
    performance_metrics: _Performance | None = None
    evaluation_context: dict[str, Any] | None = None
    metadata: _Metadata | None = None

    @property
    def agent(self) -> str:
        """Framework, or id of the agent where none is named."""
        return self.framework or (self.metadata.agent_id if self.metadata else None) or "agent"

    @property
    def task(self) -> str:
        """Id of the scenario. Files number theirs apart, so its text, where it stands there, is part of it."""
        text = f":{content_hash(self.scenario)[:8]}" if self.scenario else ""
        return scenario_id(DATASET, f"{self.scenario_id}{text}")


_decode = msgspec.json.Decoder(_Result).decode


def read(document: Document, data: bytes) -> Iterator[Record]:
    """All results of the list. Raises Unreadable."""
    identity = ""
    started: dict[str, list[datetime]] = {}
    scenarios: dict[str, dict[str, None]] = {}
    epochs: Counter[tuple[str, str]] = Counter()
    described: set[str] = set()
    for element in elements(data, data):
        try:
            identity = identity or content_hash(msgspec.json.decode(element.raw))[:32]
            result = _decode(element.raw)
            outcome = _outcome(document, result, element)
        except (msgspec.MsgspecError, UnusableLine, UnicodeDecodeError, RecursionError) as error:
            yield bad_element(element, f"Result {element.number}", error)
            continue
        if outcome.scenario_id not in described:
            described.add(outcome.scenario_id)
            yield _scenario(result, outcome.scenario_id)
        epochs[result.agent, outcome.scenario_id] += 1
        outcome.simulation_key = f"{identity}:{result.agent}"
        outcome.epoch = epochs[result.agent, outcome.scenario_id]
        scenarios.setdefault(result.agent, {})[outcome.scenario_id] = None
        started.setdefault(result.agent, []).append(outcome.execution_time)
        yield outcome
    for agent, planned in scenarios.items():
        yield Simulation(
            key=f"{identity}:{agent}",
            config_name=f"arc-eval {agent}",
            config={"agent": agent},
            name=shown_name(document.path.stem),
            status="completed",
            started_at=min(started[agent]),
            completed_at=max(started[agent]),
            planned_scenarios=list(planned),
        )


def _scenario(result: _Result, scenario: str) -> Scenario:
    return Scenario(
        scenario_id=scenario,
        name=result.scenario or str(result.scenario_id),
        task_prompt=result.scenario,
        tags=[tag for tag in (result.category, result.severity) if tag],
        dataset=DATASET,
        source_id=str(result.scenario_id),
    )


def _outcome(document: Document, result: _Result, element: Element) -> Outcome:
    trace = result.trace or _Trace()
    performance = result.performance_metrics or _Performance()
    tokens = performance.token_usage or _Tokens()
    metadata = result.metadata or _Metadata()
    complexity = (result.evaluation_context or {}).get("complexity_score")
    latency = performance.total_latency_ms
    return Outcome(
        line=element.line,
        offset=element.offset,
        simulation_key="",
        scenario_id=result.task,
        execution_time=moment(result.timestamp or metadata.timestamp, "timestamp") or document.modified_at,
        status="error" if trace.success is False else "success",
        execution_time_ms=trace.total_duration_ms if latency is None else latency,
        tokens_used=tokens.total_tokens,
        input_tokens=tokens.prompt_tokens,
        output_tokens=tokens.completion_tokens,
        cost_usd=performance.cost_usd,
        trajectory=bounded(
            steps_of(trace.steps),
            answer=cut(text_of(result.output)),
            reasoning=metadata.reasoning,
            expected_to_fail=result.expected_to_fail,
            evaluation_context=result.evaluation_context,
            trace_id=trace.trace_id,
        ),
        step_count=len(trace.steps) if result.trace else None,
        metrics={"complexity_score": complexity} if isinstance(complexity, int | float) else {},
        tools=tools_of(trace.steps),
        failures=[_failure(trace)] if trace.success is False else [],
    )


def _failure(trace: _Trace) -> Failure:
    """The step at which the trace failed, with what it gave."""
    failed = next((step for step in reversed(trace.steps) if step.success is False), None)
    place = trace.failure_point or (failed.tool if failed else None)
    said = f": {failed.error_message}" if failed and failed.error_message else ""
    return Failure(
        message=f"{place or 'The run'} failed{said}",
        failure_type=place,
        category="tool_error" if any(step.tool and step.tool == place for step in trace.steps) else None,
    )
