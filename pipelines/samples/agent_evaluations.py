"""Evaluations of a shop's service agent, as four tools would have left them, with what they hold.

    FOLDER/tool-calling-MODEL-0.0_range_0-6_user-gpt-4o-llm_MMDDhhmmss.json    tau-bench, a file a run
    FOLDER/tau2-retail-YYYYMMDD/results.json, simulations/ID.json              tau2, a folder a run
    FOLDER/arc-eval-YYYYMMDD.json                                              arc-eval
    FOLDER/support-nightly.jsonl                                               JSONL of one's own

The same arguments give the same bytes and file times. The nightly configuration changes twice, to the better; the
last night is still going on.
"""

import json
import os
import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

from pipelines.samples.generator import LAST_DAY

_POLICY = "You serve the customers of a shop. Look an order up before you speak about it. Refund only what was paid."
_TOOL_ERROR = "Error: order {order} not found"


@dataclass(frozen=True)
class _Task:
    name: str
    instruction: str
    tools: tuple[str, ...]


_TASKS = (
    _Task("exchange-keyboard", "You want the keyboard of your last order with quieter keys.",
          ("get_order_details", "get_product_details", "exchange_delivered_order_items")),
    _Task("return-lamp", "The lamp is too bright. You want your money back on the card you paid with.",
          ("get_order_details", "return_delivered_order_items")),
    _Task("cancel-pending", "You ordered two of everything by mistake and want one of each.",
          ("find_user_id_by_email", "get_order_details", "cancel_pending_order")),
    _Task("change-address", "You moved last week. The parcel must go to the new flat.",
          ("find_user_id_by_name_zip", "get_order_details", "modify_pending_order_address")),
    _Task("where-is-it", "The parcel should have come on Monday. You only want to know where it is.",
          ("get_order_details",)),
    _Task("split-payment", "You want to pay half by gift card, which the shop does not allow.",
          ("get_order_details", "transfer_to_human_agents")),
)  # fmt: skip


@dataclass(frozen=True)
class _Failure:
    """What ends an attempt early; ``{number}`` differs from one to the next."""

    status: str
    error_type: str
    message: str
    category: str
    """Of the warehouse."""


_FAILURES = (
    _Failure("timeout", "ToolTimeout", "No answer from the order service within {number} s", "timeout"),
    _Failure("error", "RateLimitError", "Too many requests, try again in {number} s", "model_error"),
    _Failure("error", "ToolFailed", "Tool get_order_details ended with exit code {number}", "tool_error"),
    _Failure("timeout", "ToolTimeout", "No answer from the order service within {number} s", "timeout"),
    _Failure("error", "ValidationError", "The answer is no valid JSON at character {number}", "validation_error"),
    _Failure("error", "ConnectionReset", "Connection to the sandbox lost after {number} ms", "system_error"),
)
_SETTINGS: tuple[tuple[dict[str, Any], float], ...] = (
    ({"model": "gpt-4o-mini", "temperature": 0.7, "prompt": "Be brief."}, 0.5),
    ({"model": "gpt-4o-mini", "temperature": 0.0, "prompt": "Be brief. Look the order up first."}, 0.7),
    ({"model": "gpt-4o", "temperature": 0.0, "prompt": "Be brief. Look the order up first."}, 0.9),
)
"""Of the nightly evaluation, a third of the nights each, and how often they do well."""


@dataclass
class EvaluationTruth:
    """What was written, counted while it was decided."""

    files: list[Path] = field(default_factory=list)
    """Files and, of tau2, folders: a document each."""
    simulations: int = 0
    running: int = 0
    """Of these."""
    outcomes: int = 0
    judged: int = 0
    """Outcomes with a verdict."""
    passed: int = 0
    unfinished: int = 0
    """Outcomes with status error or timeout."""
    tool_calls: int = 0
    tool_errors: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of the nightly evaluation, by category and by message without its number."""


@dataclass(frozen=True)
class _Talk:
    """One conversation that the agent had."""

    task: _Task
    messages: list[dict[str, Any]]
    is_passed: bool
    failed_tool: str | None
    is_cut_short: bool


def write(folder: Path, *, seed: int = 2026, last_day: date = LAST_DAY, days: int = 60) -> EvaluationTruth:
    """Writes the evaluations of one project; the last one began in the night of ``last_day``."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = EvaluationTruth()
    writer = _Writer(folder, random.Random(seed), truth)  # noqa: S311  # the same seed must give the same bytes
    first = last_day - timedelta(days=days - 1)
    for model, day in (
        ("gpt-4o-mini", first + timedelta(days=days // 4)),
        ("gpt-4o", first + timedelta(days=days // 2)),
    ):
        writer.tau_bench(model, day)
    writer.tau2("gpt-4o", last_day - timedelta(days=days // 5))
    writer.arc_eval(last_day - timedelta(days=days // 6))
    nights = [last_day - timedelta(days=back) for back in reversed(range(min(days, 30)))]
    writer.own_lines(nights)
    return truth


class _Writer:
    def __init__(self, folder: Path, rng: random.Random, truth: EvaluationTruth) -> None:
        self.folder, self.rng, self.truth, self.failures = folder, rng, truth, cycle(_FAILURES)

    def tau_bench(self, model: str, day: date) -> None:
        ended = _at(day, 11)
        results = []
        for trial in range(3):
            for number, task in enumerate(_TASKS):
                talk = self._talk(task, good=0.75 if model == "gpt-4o" else 0.5)
                info: dict[str, Any] = {
                    "task": _tau_task(task), "source": "user", "user_cost": round(self.rng.uniform(0.001, 0.004), 6),
                    "reward_info": {"reward": float(talk.is_passed), "info": {"r_actions": float(talk.is_passed)}},
                }  # fmt: skip
                if talk.is_cut_short:
                    info = {"error": "RateLimitError: too many requests, try again in 20 s", "traceback": "Traceback …"}
                results.append(
                    {
                        "task_id": number,
                        "reward": float(talk.is_passed),
                        "info": info,
                        "traj": [] if talk.is_cut_short else [{"role": "system", "content": _POLICY}, *talk.messages],
                        "trial": trial,
                    }
                )
                self._count(talk, has_messages=not talk.is_cut_short)
        name = f"tool-calling-{model}-0.0_range_0-{len(_TASKS)}_user-gpt-4o-llm_{ended:%m%d%H%M%S}.json"
        self._write(self.folder / name, json.dumps(results, indent=2, ensure_ascii=False), ended)
        self.truth.simulations += 1

    def tau2(self, model: str, day: date) -> None:
        started = _at(day, 8)
        folder = self.folder / f"tau2-retail-{day:%Y%m%d}"
        now = started
        for trial in range(2):
            for number, task in enumerate(_TASKS):
                talk = self._talk(task, good=0.7)
                began, now = now, now + timedelta(seconds=self.rng.randint(20, 90))
                messages = [self._tau2_message(message, now) for message in talk.messages]
                usage = [message["usage"] for message in messages if message["role"] == "assistant"]
                cost = round(sum(u["prompt_tokens"] * 2.5e-6 + u["completion_tokens"] * 1e-5 for u in usage), 6)
                simulation = {
                    "id": self._uuid(),
                    "task_id": str(number),
                    "timestamp": now.replace(tzinfo=None).isoformat(),
                    "start_time": began.replace(tzinfo=None).isoformat(),
                    "end_time": now.replace(tzinfo=None).isoformat(),
                    "duration": (now - began).total_seconds(),
                    "termination_reason": "max_steps" if talk.is_cut_short else "user_stop",
                    "agent_cost": cost,
                    "user_cost": 0.002,
                    "reward_info": {"reward": float(talk.is_passed), "reward_breakdown": {"DB": float(talk.is_passed)}},
                    "messages": messages,
                    "trial": trial,
                    "seed": 300 + trial,
                }
                self._count(talk)
                self.truth.output_tokens += sum(u["completion_tokens"] for u in usage)
                self.truth.cost_usd += cost
                path = folder / "simulations" / f"{simulation['id']}.json"
                self._write(path, json.dumps(simulation, indent=2, ensure_ascii=False), now, is_document=False)
        results = {
            "timestamp": started.replace(tzinfo=None).isoformat(),
            "info": {
                "git_commit": "0" * 40, "num_trials": 2, "max_steps": 200, "max_errors": 10,
                "user_info": {"implementation": "user_simulator", "llm": "gpt-4o", "llm_args": {"temperature": 0.0}},
                "agent_info": {"implementation": "llm_agent", "llm": model, "llm_args": {"temperature": 0.0}},
                "environment_info": {"domain_name": "retail", "policy": _POLICY, "tool_defs": None},
                "seed": 300,
            },
            "tasks": [_tau2_task(number, task) for number, task in enumerate(_TASKS)],
        }  # fmt: skip
        self._write(folder / "results.json", json.dumps(results, indent=2, ensure_ascii=False), now, is_document=False)
        self.truth.files.append(folder)
        self.truth.simulations += 1

    def arc_eval(self, day: date) -> None:
        began = _at(day, 14)
        results = []
        for number, task in enumerate(_TASKS):
            talk = self._talk(task, good=0.6, cut_rate=0.0)
            steps: list[dict[str, Any]] = [
                {
                    "step": step,
                    "action": "tool_call",
                    "tool": tool,
                    "input": {"order": "W1"},
                    "output": {"found": tool != talk.failed_tool},
                    "success": tool != talk.failed_tool,
                    "duration_ms": self.rng.randint(80, 900),
                    "timestamp": _iso(began + timedelta(seconds=step)),
                }
                for step, tool in enumerate(task.tools, 1)
            ]
            prompt, output = self.rng.randint(800, 1500), self.rng.randint(100, 400)
            cost = round(prompt * 2.5e-6 + output * 1e-5, 6)
            results.append(
                {
                    "output": "Done." if talk.failed_tool is None else "I could not do that.",
                    "scenario": task.instruction,
                    "scenario_id": f"shop_{number + 1:03d}",
                    "timestamp": _iso(began + timedelta(minutes=number)),
                    "framework": "langchain",
                    "expected_to_fail": False,
                    "category": "customer_service",
                    "severity": "medium",
                    "trace": {
                        "trace_id": self._uuid(),
                        "steps": steps,
                        "total_duration_ms": sum(step["duration_ms"] for step in steps),
                        "tool_calls_count": len(steps),
                        "success": talk.failed_tool is None,
                        "failure_point": talk.failed_tool,
                    },
                    "performance_metrics": {
                        "total_latency_ms": sum(step["duration_ms"] for step in steps),
                        "token_usage": {
                            "prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output
                        },
                        "cost_usd": cost,
                    },
                    "evaluation_context": {"complexity_score": round(self.rng.random(), 3)},
                }
            )  # fmt: skip
            self.truth.outcomes += 1
            self.truth.tool_calls += len(steps)
            self.truth.tool_errors += talk.failed_tool is not None
            self.truth.unfinished += talk.failed_tool is not None
            self.truth.output_tokens += output
            self.truth.cost_usd += cost
        path = self.folder / f"arc-eval-{day:%Y%m%d}.json"
        self._write(path, json.dumps(results, indent=2), began + timedelta(hours=1))
        self.truth.simulations += 1

    def own_lines(self, nights: Sequence[date]) -> None:
        lines: list[dict[str, Any]] = [
            {"type": "scenario", "id": task.name, "prompt": task.instruction, "expected_tools": list(task.tools)}
            for task in _TASKS
        ]
        for number, night in enumerate(nights):
            lines += self._night(night, *_SETTINGS[3 * number // len(nights)], is_running=number == len(nights) - 1)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self._write(self.folder / "support-nightly.jsonl", text, _at(nights[-1], 3))

    def _night(self, night: date, config: dict[str, Any], good: float, *, is_running: bool) -> Iterator[dict[str, Any]]:
        began = _at(night, 2)
        ended = {"status": "running"} if is_running else {"completed_at": _iso(began + timedelta(minutes=10))}
        yield {
            "type": "simulation", "id": f"support-nightly-{night}", "config_name": "support agent", "config": config,
            "started_at": _iso(began), "scenarios": [task.name for task in _TASKS], **ended,
        }  # fmt: skip
        for task in _TASKS[: len(_TASKS) // 2] if is_running else _TASKS:
            talk = self._talk(task, good=good, cut_rate=0.12)
            output = self.rng.randint(80, 300)
            line: dict[str, Any] = {
                "type": "outcome", "scenario": task.name, "time": _iso(began + timedelta(minutes=5)),
                "score": float(talk.is_passed), "passed": talk.is_passed,
                "input_tokens": self.rng.randint(900, 2000), "output_tokens": output,
                "duration_ms": self.rng.randint(2000, 9000),
                "tools": [
                    {"name": tool, "duration_ms": self.rng.randint(80, 900)}
                    | ({"error": _TOOL_ERROR.format(order="W1")} if tool == talk.failed_tool else {})
                    for tool in task.tools
                ],
            }  # fmt: skip
            if talk.is_cut_short:
                failure = next(self.failures)
                error = failure.message.format(number=self.rng.randint(5, 99))
                line |= {"status": failure.status, "error_type": failure.error_type, "error": error}
                self.truth.failures[failure.category, failure.message.format(number="<n>")] += 1
            self._count(talk)
            self.truth.output_tokens += output
            yield line
        self.truth.simulations += 1
        self.truth.running += is_running

    def _talk(self, task: _Task, *, good: float, cut_rate: float = 0.06) -> _Talk:
        is_cut_short = self.rng.random() < cut_rate
        is_passed = not is_cut_short and self.rng.random() < good
        failed_tool = None if is_passed or self.rng.random() < 0.4 else self.rng.choice(task.tools)
        messages: list[dict[str, Any]] = [{"role": "user", "content": task.instruction}]
        for number, tool in enumerate(task.tools):
            order = f"#W{self.rng.randint(10**6, 10**7 - 1)}"
            call_id = f"call_{self.rng.getrandbits(64):016x}"
            answer = (
                _TOOL_ERROR.format(order=order)
                if tool == failed_tool
                else json.dumps({"order_id": order, "step": number})
            )
            messages += [
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": call_id, "type": "function",
                     "function": {"name": tool, "arguments": json.dumps({"order_id": order})}}]},
                {"role": "tool", "tool_call_id": call_id, "name": tool, "content": answer},
            ]  # fmt: skip
        messages.append(
            {"role": "assistant", "content": "That is done." if is_passed else "I am sorry, that is not possible."}
        )
        return _Talk(task, messages, is_passed, failed_tool, is_cut_short)

    def _tau2_message(self, message: dict[str, Any], now: datetime) -> dict[str, Any]:
        """The message in tau2's layout."""
        stamp = {"timestamp": now.replace(tzinfo=None).isoformat()}
        if message["role"] == "tool":
            is_error = message["content"].startswith("Error")
            return {
                "id": message["tool_call_id"],
                "role": "tool",
                "content": message["content"],
                "error": is_error,
            } | stamp
        if message["role"] == "user":
            return message | stamp
        calls = [
            {"id": call["id"], "name": call["function"]["name"], "requestor": "assistant",
             "arguments": json.loads(call["function"]["arguments"])}
            for call in message.get("tool_calls", ())
        ]  # fmt: skip
        usage = {"completion_tokens": self.rng.randint(20, 120), "prompt_tokens": self.rng.randint(900, 2500)}
        return {"role": "assistant", "content": message["content"], "tool_calls": calls or None, "usage": usage} | stamp

    def _count(self, talk: _Talk, *, has_messages: bool = True) -> None:
        self.truth.outcomes += 1
        self.truth.judged += 1
        self.truth.passed += talk.is_passed
        self.truth.unfinished += talk.is_cut_short
        if has_messages:
            self.truth.tool_calls += len(talk.task.tools)
            self.truth.tool_errors += talk.failed_tool is not None

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def _write(self, path: Path, text: str, moment: datetime, *, is_document: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (moment.timestamp(), moment.timestamp()))
        if is_document:
            self.truth.files.append(path)


def _tau_task(task: _Task) -> dict[str, Any]:
    return {
        "user_id": "sample_customer", "instruction": task.instruction, "outputs": [],
        "actions": [{"name": tool, "kwargs": {"order_id": "#W1"}} for tool in task.tools],
    }  # fmt: skip


def _tau2_task(number: int, task: _Task) -> dict[str, Any]:
    return {
        "id": str(number),
        "description": {"purpose": None},
        "user_scenario": {"persona": None, "instructions": {"domain": "retail", "reason_for_call": task.instruction}},
        "evaluation_criteria": {
            "actions": [
                {"action_id": f"{number}_{step}", "requestor": "assistant", "name": tool, "arguments": {}}
                for step, tool in enumerate(task.tools)
            ],
            "reward_basis": ["DB"],
        },
    }


def _at(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
