"""tau2-bench: ``{timestamp, info, tasks, simulations}`` in one file, or with a file for each simulation.

What the benchmark calls a simulation is one conversation, here an outcome; its run over all tasks is the simulation.
Clocks have no zone and are taken as UTC. Costs are the agent's; the simulated customer's stand among the metrics.
Prompt tokens include cached ones without saying how many, so only their total is kept.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from pipelines.sources.documents import Document
from pipelines.sources.json_documents import Element, bad_element, elements, leading_keys, load, moment, why_not
from pipelines.sources.lines import UnusableLine
from pipelines.sources.outputs import (
    Failure,
    FailureCategory,
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
from pipelines.sources.records import BadLine
from pipelines.sources.steps import bounded

from .conversation import Message, conversation
from .schema import AgentUsage, Criteria, Info, Results, SimulationRun, Task, Tick

RESULTS = "results.json"
SIMULATIONS = "simulations"

_RESULTS_KEYS = {"info", "tasks", "info.agent_info", "info.environment_info"}
_SIMULATION_KEYS = {"id", "task_id", "start_time", "end_time", "termination_reason"}
_HEAD_BYTES = 64 << 10
_ENDS = frozenset({"user_stop", "agent_stop"})
"""Reasons for which a conversation comes to its own end."""
_CUT_SHORT: dict[str, tuple[OutcomeStatus, FailureCategory | None]] = {
    "timeout": ("timeout", "timeout"),
    "max_steps": ("timeout", "timeout"),
    "too_many_errors": ("error", "tool_error"),
    "agent_error": ("error", "model_error"),
    "context_window_exceeded": ("error", "model_error"),
    "user_error": ("error", "system_error"),
    "infrastructure_error": ("error", "system_error"),
    "unexpected_error": ("error", None),
}
_NOT_SETTINGS = frozenset({"git_commit", "num_trials", "seed"})
"""Of a run's ``info``: what may differ between runs of one configuration."""

_decode_results = msgspec.json.Decoder(Results).decode
_decode_task = msgspec.json.Decoder(Task).decode
_decode_simulation = msgspec.json.Decoder(SimulationRun).decode
_ERRORS = (msgspec.MsgspecError, UnusableLine, UnicodeDecodeError, RecursionError)


def matches(path: Path, head: bytes) -> bool:
    """Whether the file holds a run of tau2, or one of its simulations."""
    if head.lstrip()[:1] != b"{":
        return False
    keys = leading_keys(head)
    return (
        keys >= _RESULTS_KEYS
        or keys >= {"info.agent_info", "info.user_info", "info.num_trials"}
        or (keys >= _SIMULATION_KEYS and path.parent.name == SIMULATIONS)
    )


def root(path: Path) -> Path:
    """The run's folder where its simulations stand in files of their own."""
    if path.parent.name == SIMULATIONS and (path.parent.parent / RESULTS).is_file():
        return path.parent.parent
    if path.name == RESULTS and (path.parent / SIMULATIONS).is_dir():
        return path.parent
    return path


def read(document: Document) -> Iterator[Record]:
    """The run of one file or folder. Raises Unreadable."""
    path = document.path / RESULTS if document.path.is_dir() else document.path
    data = load(path)
    if leading_keys(data[:_HEAD_BYTES]) >= _SIMULATION_KEYS:
        raise Unreadable(
            f"This is one conversation of a run whose {RESULTS} is missing; without it nobody knows which agent was "
            "evaluated. Copy the whole folder of the run."
        )
    try:
        results = _decode_results(data)
        info = msgspec.json.decode(results.info, type=Info)
        settings = msgspec.json.decode(results.info, type=dict[str, Any])
        started = moment(results.timestamp, "The run's timestamp")
    except _ERRORS as error:
        raise Unreadable(f"{why_not(error)}; give the file that tau2 wrote, whole.") from error
    run = _Run(document, info, settings, started, data, results)
    yield from run.records()


class _Run:
    """One run while it is read."""

    def __init__(
        self,
        document: Document,
        info: Info,
        settings: dict[str, Any],
        started: datetime | None,
        data: bytes,
        results: Results,
    ) -> None:
        self.document, self.info, self.results, self.data = document, info, results, data
        self.domain = info.environment_info.domain_name
        self.dataset = f"tau2-{self.domain}"
        self.model = info.agent_info.llm or "unknown"
        self.started = started
        self.config = {"model": self.model, "domain": self.domain} | {
            name: value for name, value in settings.items() if name not in _NOT_SETTINGS and value is not None
        }
        self.metadata = {name: settings[name] for name in sorted(_NOT_SETTINGS) if settings.get(name) is not None}
        self.key = f"{self.domain}:{results.timestamp}:{content_hash(settings)[:16]}"
        self.tasks: dict[str, str] = {}
        """Scenario by the task's id."""
        self.starts: list[datetime] = []
        self.ends: list[datetime] = []
        self.rewards: list[float] = []
        self.attempts: set[tuple[str, int]] = set()

    def records(self) -> Iterator[Record]:
        yield from self._scenarios()
        planned = len(self.tasks) * self.info.num_trials
        for element, where in self._simulations():
            try:
                yield from self._simulation(_decode_simulation(element.raw), element)
            except _ERRORS as error:
                yield bad_element(element, f"Simulation {element.number}", error, where=where)
        is_complete = len(self.attempts) >= planned
        started = min([*self.starts, *([self.started] if self.started else [])], default=None)
        ended = max(self.ends, default=None)
        # Local clocks go back an hour every autumn: an end before the start is no end.
        if started is not None and ended is not None and ended < started:
            ended = None
        yield Simulation(
            key=self.key,
            config_name=f"tau2 {self.domain} {self.model}",
            config=self.config,
            name=shown_name(self.document.path.name).removesuffix(".json"),
            status="completed" if is_complete else "running",
            overall_score_raw=sum(self.rewards) / len(self.rewards) if self.rewards and is_complete else None,
            started_at=started,
            completed_at=ended if is_complete else None,
            planned_scenarios=list(self.tasks.values()),
            metadata=self.metadata | {"overall_score": "mean reward", "zone": "UTC assumed: tau2 writes none"},
        )

    def _scenarios(self) -> Iterator[Record]:
        for element in elements(self.data, self.results.tasks):
            try:
                task = _decode_task(element.raw)
                criteria = _given(task.evaluation_criteria)
                actions = (msgspec.convert(criteria, Criteria).actions if criteria else None) or []
            except _ERRORS as error:
                yield bad_element(element, f"Task {element.number}", error)
                continue
            yield self._scenario(
                str(task.id),
                task_prompt=_instructions(task.user_scenario.instructions),
                ground_truth=criteria,
                expected_tools=list(dict.fromkeys(a.name for a in actions if a.requestor == "assistant")),
            )

    def _scenario(self, task_id: str, **more: Any) -> Scenario:
        self.tasks[task_id] = scenario_id(self.dataset, task_id)
        return Scenario(
            scenario_id=self.tasks[task_id],
            name=f"{self.domain} task {task_id}",
            tags=[self.domain],
            dataset=self.dataset,
            source_id=task_id,
            **more,
        )

    def _simulations(self) -> Iterator[tuple[Element, str]]:
        """Each simulation, and in words where it stands."""
        element = None
        for element in elements(self.data, self.results.simulations):
            yield element, ""
        if element is not None:
            return
        folder = self.document.path if self.document.path.is_dir() else self.document.path.parent
        for number, path in enumerate(sorted((folder / SIMULATIONS).glob("*.json")), 1):
            yield Element(number, 1, 0, load(path)), f" ({SIMULATIONS}/{shown_name(path.name)})"

    def _simulation(self, simulation: SimulationRun, element: Element) -> Iterator[Record]:
        task_id, trial = str(simulation.task_id), simulation.trial or 0
        if (task_id, trial) in self.attempts:
            detail = f"Task {task_id}, trial {trial} is there twice; the first is loaded. Keep one of them."
            yield BadLine(element.line, element.offset, len(element.raw), "duplicate_result", detail, b"")
            return
        outcome = self._outcome(simulation, element)
        self.attempts.add((task_id, trial))
        if task_id not in self.tasks:
            outcome.scenario_id = scenario_id(self.dataset, task_id)
            yield self._scenario(task_id)
        yield outcome

    def _outcome(self, simulation: SimulationRun, element: Element) -> Outcome:
        started = moment(simulation.start_time, "start_time")
        ended = moment(simulation.end_time, "end_time") or moment(simulation.timestamp, "timestamp")
        talk = conversation(simulation.messages if simulation.messages is not None else _spoken(simulation.ticks or []))
        reward = simulation.reward_info.reward if simulation.reward_info else None
        metrics = dict((simulation.reward_info.reward_breakdown if simulation.reward_info else None) or {})
        if simulation.user_cost is not None:
            metrics["user_cost_usd"] = simulation.user_cost
        status, failures = _end(simulation)
        outcome = Outcome(
            line=element.line,
            offset=element.offset,
            simulation_key=self.key,
            scenario_id=scenario_id(self.dataset, str(simulation.task_id)),
            epoch=(simulation.trial or 0) + 1,
            execution_time=ended or started or self.document.modified_at,
            status=status,
            score_raw=reward,
            is_passed=None if reward is None else abs(reward - 1) <= 1e-6,
            execution_time_ms=None if simulation.duration is None else simulation.duration * 1000,
            model=self.model,
            tokens_used=_total(talk.prompt_tokens, talk.output_tokens),
            output_tokens=talk.output_tokens,
            cost_usd=simulation.agent_cost,
            trajectory=bounded(
                talk.steps,
                termination_reason=simulation.termination_reason,
                seed=simulation.seed,
                mode=simulation.mode,
                prompt_tokens=talk.prompt_tokens,
            ),
            step_count=len(talk.steps),
            metrics=metrics,
            retry_count=simulation.hallucination_retries_used,
            error_code=None if status == "success" else simulation.termination_reason,
            tools=talk.tools,
            failures=failures,
        )
        if simulation.agent_usage is not None:
            _add_usage(outcome, simulation.agent_usage)
        if outcome.cost_usd == 0 and outcome.tokens_used:
            outcome.cost_usd = None  # tau2 writes 0 for a model whose price it does not know
        self.starts += [started] if started else []
        self.ends += [ended] if ended else []
        self.rewards += [] if reward is None else [reward]
        return outcome


def _end(simulation: SimulationRun) -> tuple[OutcomeStatus, list[Failure]]:
    """How the conversation ended, and the failure where it did not come to its own end."""
    reason = simulation.termination_reason
    if reason in _ENDS:
        return "success", []
    status, category = _CUT_SHORT.get(reason, ("error", None))
    error = (simulation.info or {}).get("error")
    message = error if isinstance(error, str) and error else f"The conversation ended by {reason}"
    return status, [Failure(message=message, failure_type=reason, category=category)]


def _add_usage(outcome: Outcome, usage: AgentUsage) -> None:
    """Usage of agents by voice, which providers report apart from the messages."""
    records = [record for record in usage.records if record.billable]
    prompt = _total(*(record.input_tokens for record in records))
    cached = _total(*(record.input_cached_tokens for record in records))
    outcome.output_tokens = _total(*(record.output_tokens for record in records))
    outcome.tokens_used = _total(prompt, outcome.output_tokens)
    if prompt is not None and cached is not None:
        outcome.input_tokens, outcome.cache_read_tokens = prompt - cached, cached
    if outcome.cost_usd is None:
        outcome.cost_usd = usage.cost


def _spoken(ticks: Iterable[Tick]) -> Iterator[Message]:
    """Messages of a conversation by voice: what one party says without a break is one of them."""
    speaking: Message | None = None
    for tick in ticks:
        for role, chunk, calls, answers in (
            ("assistant", tick.agent_chunk, tick.agent_tool_calls, tick.agent_tool_results),
            ("user", tick.user_chunk, tick.user_tool_calls, tick.user_tool_results),
        ):
            said = chunk.content if chunk and isinstance(chunk.content, str) else ""
            if speaking is not None and (calls or answers or (said and speaking.role != role)):
                yield speaking
                speaking = None
            if calls or answers:
                yield Message(role=role, content=said, tool_calls=calls, timestamp=tick.timestamp)
                yield from answers
            elif said and speaking is None:
                speaking = Message(role=role, content=said, timestamp=tick.timestamp)
            elif said and speaking is not None:
                speaking.content += said
    if speaking is not None:
        yield speaking


def _instructions(given: Any) -> str | None:
    """What the customer is told: a text, or its parts by name."""
    if isinstance(given, dict):
        return (
            "\n".join(f"{name.replace('_', ' ').capitalize()}: {text}" for name, text in given.items() if text) or None
        )
    return given if isinstance(given, str) and given else None


def _given(raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw) if bytes(raw) else None


def _total(*amounts: int | None) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
