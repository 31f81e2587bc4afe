"""tau-bench: ``[{task_id, trial, reward, info, traj}, …]``, one file a run.

The file says nothing of the agent: its model and settings stand in its name. It holds no clock either, so outcomes
are dated by the file. The policy, which is the first message of every conversation, belongs to the configuration.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pipelines.sources.documents import Document
from pipelines.sources.json_documents import bad_element, elements, leading_keys, load, text_of
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
from pipelines.sources.records import BadLine
from pipelines.sources.steps import bounded

from .conversation import Message, conversation

_KEYS = {"task_id", "reward", "info", "traj"}
# The benchmark's own names: strategy-model-temperature_range_first-last_user-model-strategy_MMDDhhmmss.
_NAME = re.compile(
    r"(?P<strategy>tool-calling|act|react|few-shot)-(?P<model>.+)-(?P<temperature>\d+(?:\.\d+)?)"
    r"_range_-?\d+--?\d+_user-(?P<user_model>.+)-(?P<user_strategy>[a-z]+)_\d{10}"
)
_DOMAIN_IN_NAME = re.compile(r"(?:^|[-_.])(airline|retail)(?=$|[-_.])")
_DOMAIN_OF_TOOL = {
    "get_reservation_details": "airline", "book_reservation": "airline", "update_reservation_flights": "airline",
    "cancel_reservation": "airline", "search_direct_flight": "airline", "get_order_details": "retail",
    "get_product_details": "retail", "find_user_id_by_name_zip": "retail", "find_user_id_by_email": "retail",
}  # fmt: skip


class _Action(msgspec.Struct):
    name: str
    kwargs: Any = None


class _Task(msgspec.Struct):
    instruction: str | None = None
    actions: list[_Action] = []
    outputs: list[Any] = []
    user_id: str | None = None


class _RewardInfo(msgspec.Struct):
    info: dict[str, Any] = {}


class _Info(msgspec.Struct):
    task: _Task | None = None
    user_cost: float | None = None
    reward_info: _RewardInfo | None = None
    error: str | None = None
    """Message of the exception that ended the conversation, with ``traceback`` beside it."""


class _Result(msgspec.Struct):
    task_id: int | str
    reward: float | None = None
    trial: Annotated[int, msgspec.Meta(ge=0)] = 0
    info: _Info = msgspec.field(default_factory=_Info)
    traj: list[Message] = []


_decode = msgspec.json.Decoder(_Result).decode


def matches(path: Path, head: bytes) -> bool:
    """Whether the file is a list of tau-bench's results."""
    return head.lstrip()[:1] == b"[" and leading_keys(head) >= _KEYS


def read(document: Document) -> Iterator[Record]:
    """The run of one file. Raises Unreadable."""
    data = load(document.path)
    results: list[_Result] = []
    places: list[tuple[int, int]] = []
    identity = ""
    for element in elements(data, data):
        try:
            result = _decode(element.raw)
            if result.traj and not identity:
                identity = content_hash(msgspec.json.decode(element.raw))[:32]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield bad_element(element, f"Result {element.number}", error)
            continue
        results.append(result)
        places.append((element.line, element.offset))
    if results:
        yield from _run(document, results, places, identity)


def _run(document: Document, results: list[_Result], places: list[tuple[int, int]], identity: str) -> Iterator[Record]:
    name = shown_name(document.path.name).removesuffix(".gz").removesuffix(".zst").removesuffix(".json")
    domain = _domain(name, results)
    dataset = f"tau-bench-{domain}"
    named = _NAME.fullmatch(name)
    # A file of the benchmark's own name grows while it runs, and is put in order at its end.
    key = name if named or not identity else identity
    config = _config(name, domain, results)
    tasks: dict[str, _Task | None] = {}
    for result in results:
        tasks[str(result.task_id)] = tasks.get(str(result.task_id)) or result.info.task
    ids = {task_id: scenario_id(dataset, task_id) for task_id in tasks}
    yield from (_scenario(ids[task_id], task_id, dataset, domain, task) for task_id, task in tasks.items())
    rewards = [result.reward for result in results if result.reward is not None]
    yield Simulation(
        key=key,
        config_name=f"tau-bench {domain} {config['model']}",
        config=config,
        name=name,
        status="completed",
        overall_score_raw=sum(rewards) / len(rewards) if rewards else None,
        completed_at=document.modified_at,
        planned_scenarios=list(ids.values()),
        metadata={
            "trials": len({result.trial for result in results}),
            "times": "of the file: tau-bench writes none",
            "overall_score": "mean reward",
        },
    )
    seen: Counter[tuple[str, int]] = Counter()
    for result, (line, offset) in zip(results, places, strict=True):
        attempt = (str(result.task_id), result.trial)
        seen[attempt] += 1
        if seen[attempt] > 1:
            detail = f"Task {attempt[0]}, trial {attempt[1]} is there twice; the first is loaded. Keep one of them."
            yield BadLine(line, offset, 0, "duplicate_result", detail, b"")
            continue
        yield _outcome(document, result, key, ids[attempt[0]], config["model"], line, offset)


def _domain(name: str, results: list[_Result]) -> str:
    """The benchmark's domain, on which the meaning of a task's number depends; of an unknown one, the file's name."""
    if found := _DOMAIN_IN_NAME.search(name):
        return found.group(1)
    for result in results:
        expected = [action.name for action in result.info.task.actions] if result.info.task else []
        for tool in expected + [call.tool for message in result.traj for call in message.tool_calls or ()]:
            if tool in _DOMAIN_OF_TOOL:
                return _DOMAIN_OF_TOOL[tool]
    return name


def _config(name: str, domain: str, results: list[_Result]) -> dict[str, Any]:
    policies = (text_of(r.traj[0].content) for r in results if r.traj and r.traj[0].role == "system")
    settings: dict[str, Any] = {"domain": domain, "policy": next(policies, None)}
    if named := _NAME.fullmatch(name):
        settings |= named.groupdict() | {"temperature": float(named["temperature"])}
    else:
        settings["model"] = _DOMAIN_IN_NAME.sub("", name).strip("-_.") or "unknown"
    return {key: value for key, value in settings.items() if value is not None}


def _scenario(scenario: str, task_id: str, dataset: str, domain: str, task: _Task | None) -> Scenario:
    task = task or _Task()
    return Scenario(
        scenario_id=scenario,
        name=f"{domain} task {task_id}",
        task_prompt=task.instruction,
        ground_truth={"actions": msgspec.to_builtins(task.actions), "outputs": task.outputs}
        if task.instruction
        else None,
        tags=[domain],
        expected_tools=list(dict.fromkeys(action.name for action in task.actions)) if task.instruction else None,
        dataset=dataset,
        source_id=task_id,
    )


def _outcome(
    document: Document, result: _Result, key: str, scenario: str, model: str, line: int, offset: int
) -> Outcome:
    spoken = result.traj[1:] if result.traj and result.traj[0].role == "system" else result.traj
    talk = conversation(spoken, errors_begin_with="Error")
    checks = result.info.reward_info.info if result.info.reward_info else {}
    metrics = {name: float(value) for name, value in checks.items() if isinstance(value, int | float)}
    if result.info.user_cost is not None:
        metrics["user_cost_usd"] = result.info.user_cost
    error = result.info.error
    return Outcome(
        line=line,
        offset=offset,
        simulation_key=key,
        scenario_id=scenario,
        epoch=result.trial + 1,
        execution_time=document.modified_at,
        status="success" if error is None else "error",
        score_raw=result.reward,
        is_passed=None if result.reward is None else abs(result.reward - 1) <= 1e-6,
        model=model,
        trajectory=bounded(talk.steps),
        step_count=len(talk.steps),
        metrics=metrics,
        tools=talk.tools,
        failures=[] if error is None else [Failure(message=error)],
    )
