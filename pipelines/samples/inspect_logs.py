"""Logs of Inspect AI as its version 0.3 writes them: a support task with changing settings, and an agent with tools.

Every project has a finished run of each kind, one that was cancelled, one that failed and one that is still being
written, so that all of them can be looked at. The same arguments give the same bytes.

    FOLDER/<project>/<time>_<task>_<id>.eval|json
"""

import json
import os
import random
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipelines.samples.generator import LAST_DAY, PROJECT_NAMES

INSPECT_VERSION = "0.3.285"
MODEL = "anthropic/claude-sonnet-5-5"
GRADER = "anthropic/claude-haiku-4-5-20251001"

Status = Literal["success", "cancelled", "error", "started"]
_QUEUES = ("billing", "outage", "feature", "account")
_TICKETS = (
    "The invoice of last month shows twice the seats we have.",
    "Since this morning every request answers with status 503.",
    "It would help to filter the export by team.",
    "I cannot change the address of my account.",
    "Please refund the plan that was renewed by mistake.",
    "The status page is green, yet uploads time out.",
)
_AGENT_TASKS = (
    ("Find the file that sets the retry limit and print its name.", "settings.py"),
    ("Which test covers the parser of amounts?", "test_amounts.py"),
    ("Name the function that opens the connection pool.", "open_pool"),
)
_TOOL_ERROR = ("timeout", "Command timed out before completing.")
_SAMPLE_ERROR = "RateLimitError('Error code: 429 - rate_limit_error: too many tokens per minute')"


@dataclass
class InspectTruth:
    """What the logs hold, counted from what was decided."""

    folder: Path
    projects: tuple[str, ...]
    files: int = 0
    simulations: Counter[str] = field(default_factory=Counter)
    """By status of the warehouse."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """By status."""
    judged: int = 0
    """Outcomes with a score."""
    passed: int = 0
    tokens: int = 0
    """Of the evaluated model, without graders."""
    tools: Counter[str] = field(default_factory=Counter)
    """Tool uses by status."""


class _Plan(NamedTuple):
    task: Literal["ticket_routing", "repo_search"]
    status: Status
    suffix: Literal["eval", "json"]
    days_ago: int
    temperature: float
    system: str
    epochs: int = 1


_PLANS = (
    _Plan("ticket_routing", "success", "eval", 52, 1.0, "Answer with one queue.", epochs=2),
    _Plan("ticket_routing", "success", "json", 31, 0.2, "Answer with one queue."),
    _Plan("ticket_routing", "success", "eval", 9, 0.2, "Name the queue, nothing else.", epochs=2),
    _Plan("repo_search", "success", "eval", 24, 0.0, "You are at home in this repository.", epochs=2),
    _Plan("repo_search", "error", "json", 16, 0.0, "You are at home in this repository."),
    _Plan("ticket_routing", "cancelled", "json", 12, 0.2, "Name the queue, nothing else."),
    _Plan("repo_search", "started", "eval", 1, 0.0, "You are at home in this repository."),
)
_SIMULATION_STATUS = {"success": "completed", "cancelled": "cancelled", "error": "failed", "started": "running"}


def write(
    folder: Path, *, seed: int = 2026, last_day: date = LAST_DAY, projects: Sequence[str] = PROJECT_NAMES
) -> InspectTruth:
    """Writes the logs of some weeks that end on ``last_day`` and returns what they hold."""
    rng = random.Random(seed)  # noqa: S311  # the same seed must give the same bytes
    truth = InspectTruth(folder, tuple(projects))
    for project in projects:
        for plan in _PLANS:
            _Evaluation(rng, plan, last_day, truth).write(folder / project)
    return truth


class _Evaluation:
    """One run of one task."""

    def __init__(self, rng: random.Random, plan: _Plan, last_day: date, truth: InspectTruth) -> None:
        self.rng, self.plan, self.truth = rng, plan, truth
        begin = datetime.combine(last_day - timedelta(days=plan.days_ago), time(8), UTC)
        self.started_at = begin + timedelta(minutes=rng.randint(0, 500))
        self.clock = self.started_at
        self.eval_id, self.task_id, self.run_id = (_short_id(rng) for _ in range(3))
        self.tasks = _TICKETS if plan.task == "ticket_routing" else tuple(task for task, _ in _AGENT_TASKS)
        self.usage: Counter[str] = Counter()

    def write(self, folder: Path) -> None:
        samples = list(self._samples())
        header = self._header(samples)
        folder.mkdir(parents=True, exist_ok=True)
        stamp = self.started_at.strftime("%Y-%m-%dT%H-%M-%S+00-00")
        path = folder / f"{stamp}_{self.plan.task.replace('_', '-')}_{self.task_id}.{self.plan.suffix}"
        if self.plan.suffix == "json":
            path.write_text(json.dumps(header | {"samples": samples}, indent=2))
        else:
            self._write_archive(path, header, samples)
        os.utime(path, (self.clock.timestamp(), self.clock.timestamp()))
        self.truth.files += 1
        self.truth.simulations[_SIMULATION_STATUS[self.plan.status]] += 1

    def _samples(self) -> Iterator[dict[str, Any]]:
        count = len(self.tasks) if self.plan.status == "success" else 2
        for epoch in range(1, self.plan.epochs + 1):
            for number in range(1, count + 1):
                failed = self.plan.status == "error" and number == count
                yield self._sample(number, epoch, failed=failed)

    def _sample(self, number: int, epoch: int, *, failed: bool) -> dict[str, Any]:
        rng, is_agent = self.rng, self.plan.task == "repo_search"
        task = self.tasks[number - 1]
        target = _AGENT_TASKS[number - 1][1] if is_agent else _QUEUES[(number - 1) % len(_QUEUES)]
        started_at = self.clock
        messages = [self._message("system", content=self.plan.system), self._message("user", content=task)]
        if is_agent:
            messages += self._tool_calls(number)
        is_right = not failed and rng.random() < 0.7
        answer = target if is_right else "README.md" if is_agent else rng.choice(_QUEUES[:1])
        is_right = is_right or (not failed and answer == target)
        reply = self._message("assistant", content=answer, source="generate", model=MODEL.partition("/")[2])
        if not failed:
            messages.append(reply)
        usage = self._use(rng.randint(400, 900), rng.randint(10, 80), rng.choice((0, 2000)))
        self.clock += timedelta(seconds=rng.uniform(1, 8))
        elapsed = (self.clock - started_at).total_seconds()
        sample: dict[str, Any] = {
            "id": number, "epoch": epoch, "input": task, "target": target, "messages": messages,
            "output": {"model": MODEL.partition("/")[2], "choices": [{"message": reply, "stop_reason": "stop"}]},
            "metadata": {}, "store": {}, "events": [], "model_usage": usage,
            "started_at": started_at.isoformat(), "completed_at": self.clock.isoformat(),
            "total_time": round(elapsed, 3), "working_time": round(elapsed * 0.9, 3), "uuid": _short_id(rng),
            "attachments": {},
        }  # fmt: skip
        if failed:
            sample["error"] = {"message": _SAMPLE_ERROR, "traceback": "Traceback …", "traceback_ansi": "Traceback …"}
        else:
            sample["scores"] = {"match": {"value": "C" if is_right else "I", "answer": answer, "explanation": answer}}
        self.truth.outcomes["error" if failed else "success"] += 1
        self.truth.judged += not failed
        self.truth.passed += is_right
        return sample

    def _tool_calls(self, number: int) -> list[dict[str, Any]]:
        messages = []
        for call in range(1, number + 2):
            call_id = f"toolu_{_short_id(self.rng)}"
            is_error = self.rng.random() < 0.15
            arguments = {"cmd": f"grep -rn retry --max-count {call} ."}
            messages.append(
                self._message(
                    "assistant",
                    content="",
                    source="generate",
                    tool_calls=[{"id": call_id, "function": "bash", "arguments": arguments, "type": "function"}],
                )
            )
            answer = self._message("tool", content="src/settings.py:12", tool_call_id=call_id, function="bash")
            if is_error:
                answer |= {"content": "", "error": {"type": _TOOL_ERROR[0], "message": _TOOL_ERROR[1]}}
            messages.append(answer)
            self.truth.tools["error" if is_error else "ok"] += 1
        return messages

    def _message(self, role: str, **fields: Any) -> dict[str, Any]:
        return {"id": _short_id(self.rng), "role": role, **fields}

    def _use(self, prompt: int, output: int, cached: int) -> dict[str, dict[str, int]]:
        self.usage.update(input_tokens=prompt, output_tokens=output, input_tokens_cache_read=cached)
        self.truth.tokens += prompt + output + cached
        used = {
            MODEL: {
                "input_tokens": prompt, "output_tokens": output, "total_tokens": prompt + output + cached,
                "input_tokens_cache_write": 0, "input_tokens_cache_read": cached,
            }
        }  # fmt: skip
        if self.plan.task == "repo_search":
            used[GRADER] = {"input_tokens": 200, "output_tokens": 5, "total_tokens": 205}
        return used

    def _header(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        plan = self.plan
        scored = [sample["scores"]["match"]["value"] == "C" for sample in samples if "scores" in sample]
        metrics = {"accuracy": {"name": "accuracy", "value": sum(scored) / len(scored), "params": {}}}
        total = sum(self.usage.values())
        header: dict[str, Any] = {
            "version": 2,
            "status": plan.status,
            "eval": {
                "eval_id": self.eval_id, "run_id": self.run_id, "created": self.started_at.isoformat(),
                "task": plan.task, "task_id": self.task_id, "task_version": 0, "task_attribs": {}, "task_args": {},
                "dataset": {
                    "name": plan.task, "samples": len(self.tasks), "shuffled": False,
                    "sample_ids": list(range(1, len(self.tasks) + 1)),
                },
                "model": MODEL, "model_generate_config": {}, "model_args": {},
                "config": {"epochs": plan.epochs, "epochs_reducer": ["mean"], "message_limit": 40},
                "packages": {"inspect_ai": INSPECT_VERSION}, "metadata": {},
                "scorers": [{"name": "match", "options": {}, "metrics": [{"name": "inspect_ai/accuracy"}]}],
            },
            "plan": {
                "name": "plan",
                "steps": [
                    {"solver": "system_message", "params": {"template": plan.system}},
                    {"solver": "generate", "params": {}},
                ],
                "config": {"temperature": plan.temperature},
            },
            "results": {
                "total_samples": len(self.tasks) * plan.epochs, "completed_samples": len(scored),
                "scores": [{"name": "match", "scorer": "match", "params": {}, "metrics": metrics}],
            },
            "stats": {
                "started_at": self.started_at.isoformat(), "completed_at": self.clock.isoformat(),
                "model_usage": {MODEL: {**self.usage, "total_tokens": total}},
            },
        }  # fmt: skip
        if plan.status == "error":
            header["error"] = {"message": _SAMPLE_ERROR, "traceback": "Traceback …", "traceback_ansi": "Traceback …"}
        return header

    def _write_archive(self, path: Path, header: dict[str, Any], samples: Sequence[dict[str, Any]]) -> None:
        """The archive as a finished run leaves it; of a running one the last sample stands only in the journal."""
        is_running = self.plan.status == "started"
        summaries = [
            {key: sample[key] for key in sample if key not in ("messages", "output", "store", "events", "attachments")}
            | {"completed": True, "message_count": len(sample["messages"])}
            for sample in samples
        ]
        members: dict[str, Any] = {"_journal/start.json": {key: header[key] for key in ("version", "eval", "plan")}}
        for sample in samples[:-1] if is_running else samples:
            members[f"samples/{sample['id']}_epoch_{sample['epoch']}.json"] = sample
        members["_journal/summaries/1.json"] = summaries
        if not is_running:
            members |= {"summaries.json": summaries, "header.json": header}
        else:
            self._forget_tools(samples[-1])
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, member in members.items():
                info = zipfile.ZipInfo(name, self.started_at.timetuple()[:6])
                archive.writestr(info, json.dumps(member), zipfile.ZIP_DEFLATED)

    def _forget_tools(self, sample: dict[str, Any]) -> None:
        answers = [message for message in sample["messages"] if message["role"] == "tool"]
        self.truth.tools.subtract("error" if "error" in answer else "ok" for answer in answers)


def _short_id(rng: random.Random) -> str:
    return "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789", k=22))
