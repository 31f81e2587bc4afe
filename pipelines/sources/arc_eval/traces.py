"""Traces of workflows, one a file: each is a simulation with one outcome.

A workflow is known by what it was asked, or by the tasks it consists of; so two traces of one workflow meet the same
scenario.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from pipelines.sources.documents import Document
from pipelines.sources.json_documents import bad_element, elements, moment, text_of, why_not
from pipelines.sources.lines import UnusableLine
from pipelines.sources.outputs import (
    Failure,
    Outcome,
    OutcomeStatus,
    Record,
    Scenario,
    Simulation,
    Unreadable,
    content_hash,
    scenario_id,
    shown_name,
)
from pipelines.sources.steps import bounded, cut

from .trace import Step, steps_of, tools_of

DATASET = "arc-eval-workflow"
_GOOD = frozenset({"completed", "success", "succeeded", "ok"})
_ERRORS = (msgspec.MsgspecError, UnusableLine, UnicodeDecodeError, RecursionError)


class _ToolCall(msgspec.Struct):
    name: str
    parameters: Any = None
    result: Any = None


class _Context(msgspec.Struct):
    user_query: str | None = None
    request_type: str | None = None


class _WorkflowStep(msgspec.Struct):
    framework: str
    agent: str | None = None
    task: str | None = None
    tool_call: _ToolCall | None = None
    output: Any = None
    error: Any = None
    success: bool | None = None
    status: str | None = None
    timestamp: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    duration_seconds: float | None = None
    context: _Context | None = None

    @property
    def outcome(self) -> OutcomeStatus:
        """How the step ended."""
        if self.status == "timeout":
            return "timeout"
        is_good = self.success is not False and (self.status is None or self.status in _GOOD)
        return "success" if is_good else "error"

    @property
    def step(self) -> Step:
        """The step as other traces write it."""
        call = self.tool_call
        return Step(
            action=self.task,
            tool=call.name if call else None,
            input=call.parameters if call else None,
            content=self.agent if call is None else None,
            output=self.error if self.error is not None else self.output,
            success=self.outcome == "success",
            duration_ms=None if self.duration_seconds is None else self.duration_seconds * 1000,
            timestamp=self.timestamp or self.start_time,
        )


class _Error(msgspec.Struct):
    type: str | None = None
    message: str | None = None


class _Report(msgspec.Struct):
    trace_id: str
    agent: str
    framework: str
    status: str
    timestamp: str | None = None
    error: _Error | None = None
    execution_time: float | None = None
    """Seconds."""
    intermediate_steps: list[Step] = []
    context: _Context | None = None


class _Definition(msgspec.Struct):
    name: str


class _Mismatch(msgspec.Struct):
    mismatch_type: str
    tool_definition: _Definition
    llm_output: Any
    output: str | None = None
    expected_fix: str | None = None


def read_steps(document: Document, data: bytes) -> Iterator[Record]:
    """A workflow as the list of its steps. Raises Unreadable."""
    steps: list[_WorkflowStep] = []
    for element in elements(data, data):
        try:
            steps.append(msgspec.json.decode(element.raw, type=_WorkflowStep))
        except _ERRORS as error:
            yield bad_element(element, f"Step {element.number}", error)
    if not steps:
        return
    asked = next((step.context.user_query for step in steps if step.context and step.context.user_query), None)
    name = asked or " → ".join(step.task or "step" for step in steps)
    plain = [step.step for step in steps]
    times = _times(document, steps)
    last = steps[-1].outcome
    outcome = Outcome(
        simulation_key=content_hash(_whole(data))[:32],
        scenario_id=_scenario_id(name, asked),
        execution_time=max(times),
        status=last,
        execution_time_ms=(max(times) - min(times)).total_seconds() * 1000,
        trajectory=bounded(steps_of(plain)),
        step_count=len(plain),
        tools=tools_of(plain),
        failures=[
            Failure(
                message=cut(text_of(step.error if step.error is not None else step.output)) or f"{step.task} failed",
                failure_type=step.task or (step.tool_call.name if step.tool_call else None),
                category="timeout" if step.outcome == "timeout" else "tool_error" if step.tool_call else None,
                recovery_attempted=step is not steps[-1],
                recovery_successful=step is not steps[-1] and last == "success",
            )
            for step in steps
            if step.outcome != "success"
        ],
    )
    yield from _workflow(document, steps[0].framework, {"framework": steps[0].framework}, name, asked, [outcome])


def read_report(document: Document, data: bytes) -> Iterator[Record]:
    """A workflow as the report of how it failed. Raises Unreadable."""
    try:
        report = msgspec.json.decode(data, type=_Report)
        tools = tools_of(report.intermediate_steps)
        time = moment(report.timestamp, "timestamp") or document.modified_at
    except _ERRORS as broken:
        raise Unreadable(f"{why_not(broken)}; give the whole report of one trace.") from broken
    error = report.error or _Error()
    context = report.context or _Context()
    is_good = report.status in _GOOD
    name = context.user_query or context.request_type or report.agent
    outcome = Outcome(
        simulation_key=report.trace_id,
        scenario_id=_scenario_id(name, context.user_query),
        execution_time=time,
        status="success" if is_good else "timeout" if report.status == "timeout" else "error",
        execution_time_ms=None if report.execution_time is None else report.execution_time * 1000,
        trajectory=bounded(steps_of(report.intermediate_steps)),
        step_count=len(report.intermediate_steps),
        error_code=error.type,
        tools=tools,
        failures=[] if is_good else [Failure(message=error.message or report.status, failure_type=error.type)],
    )
    config = {"agent": report.agent, "framework": report.framework}
    yield from _workflow(document, report.agent, config, name, context.user_query, [outcome])


def read_mismatches(document: Document, data: bytes) -> Iterator[Record]:
    """Tool calls that do not fit their definitions, each an outcome of its own. Raises Unreadable."""
    key = content_hash(_whole(data))[:32]
    outcomes: list[Outcome] = []
    for element in elements(data, data):
        try:
            found = msgspec.json.decode(element.raw, type=_Mismatch)
        except _ERRORS as error:
            yield bad_element(element, f"Mismatch {element.number}", error)
            continue
        tool = found.tool_definition.name
        scenario = scenario_id(DATASET, f"call {tool}")
        yield Scenario(scenario_id=scenario, name=f"Call {tool}", expected_tools=[tool], dataset=DATASET)
        outcomes.append(
            Outcome(
                line=element.line,
                offset=element.offset,
                simulation_key=key,
                scenario_id=scenario,
                epoch=1 + sum(other.scenario_id == scenario for other in outcomes),
                execution_time=document.modified_at,
                status="error",
                trajectory=bounded([{"type": "tool_call", "tool": tool, "input": cut(text_of(found.llm_output))}]),
                step_count=1,
                error_code=found.mismatch_type,
                failures=[
                    Failure(
                        message=found.output or found.mismatch_type,
                        failure_type=found.mismatch_type,
                        category="validation_error",
                    )
                ],
            )
        )
    if outcomes:
        yield from outcomes
        yield _simulation(document, "agent", {"agent": "agent"}, outcomes)


def _scenario_id(name: str, asked: str | None) -> str:
    """Id of the workflow. Words that somebody typed may hold a secret, which nobody recognises in an id."""
    return scenario_id(DATASET, content_hash(asked)[:16] if asked else name)


def _workflow(
    document: Document, agent: str, config: dict[str, Any], name: str, asked: str | None, outcomes: Sequence[Outcome]
) -> Iterator[Record]:
    yield Scenario(scenario_id=outcomes[0].scenario_id, name=name, task_prompt=asked, dataset=DATASET, source_id=name)
    yield from outcomes
    yield _simulation(document, agent, config, outcomes)


def _simulation(document: Document, agent: str, config: dict[str, Any], outcomes: Sequence[Outcome]) -> Simulation:
    return Simulation(
        key=outcomes[0].simulation_key,
        config_name=f"arc-eval {agent}",
        config=config,
        name=shown_name(document.path.stem),
        status="completed",
        completed_at=max(outcome.execution_time for outcome in outcomes),
        planned_scenarios=list(dict.fromkeys(outcome.scenario_id for outcome in outcomes)),
    )


def _times(document: Document, steps: Sequence[_WorkflowStep]) -> list[datetime]:
    """When steps began and ended; unreadable times are as good as none."""
    found = []
    for step in steps:
        for text in (step.timestamp, step.start_time, step.end_time):
            try:
                found += [time] if (time := moment(text, "time")) else []
            except UnusableLine:
                continue
    return found or [document.modified_at]


def _whole(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{why_not(error)}; write the file again or restore it.") from error
