"""Writes sample optimization runs: compiles of DSPy, and runs that other optimizers tell as JSON lines.

The same arguments give the same bytes. A project's compiles get better over the weeks, some runs fail or are stopped.

    FOLDER/<project>/<run>/attrs.json, trial_logs.json, program.json, …
    FOLDER/<project>/runs.jsonl
"""

import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.samples.dspy_exports import Compile, Task
from pipelines.samples.generator import LAST_DAY, PROJECT_NAMES

TASKS = (
    Task("ticket-routing", "Route a support ticket to its queue.", ("billing", "outage", "feature", "account"), 40),
    Task("invoice-matching", "Say how an invoice line is booked.", ("travel", "software", "office"), 30),
    Task("crash-triage", "Say which team owns a crash report.", ("network", "storage", "ui", "auth"), 30),
)
MODELS = ("claude-haiku-4-5-20251001", "gpt-4o-mini")

_OPTIMIZERS = ("miprov2", "gepa", "bootstrap_random_search", "simba", "copro")
_SEARCHES = ("bayesian", "grid_search", "genetic", "random_search")
_STATUSES = ("completed", "completed", "completed", "failed", "cancelled", "running")


@dataclass(frozen=True)
class RunTruth:
    """One run as its files tell it; scores are raw, on ``scale``."""

    project: str
    name: str
    optimizer_type: str
    status: str
    task: str
    model: str
    start_time: datetime
    scale: tuple[float, float]
    initial: float | None
    final: float | None
    iterations: int
    full_evaluations: int
    samples: int
    correct: int
    tokens: int = 0
    """Of all iterations."""
    cost_usd: float = 0.0
    unfinished_best: float | None = None
    """Best score of a run without a final one."""

    @property
    def best(self) -> float | None:
        """Best score of full evaluations, on 0..1; None without bounds."""
        score, highest = self.unfinished_best if self.final is None else self.final, self.scale[1]
        return None if score is None or highest == float("inf") else score / highest


@dataclass
class OptimizationTruth:
    """Ground truth of one written folder."""

    folder: Path
    runs: list[RunTruth] = field(default_factory=list)


def write(
    folder: Path,
    *,
    seed: int = 2026,
    days: int = 60,
    last_day: date = LAST_DAY,
    projects: Sequence[str] = PROJECT_NAMES,
) -> OptimizationTruth:
    """Writes compiles and runs of each project, spread over the days up to ``last_day``; returns what they hold."""
    truth = OptimizationTruth(folder)
    for number, project in enumerate(projects):
        rng = random.Random(f"{seed}:{project}")  # noqa: S311  # the same seed must give the same bytes
        task = TASKS[number % len(TASKS)]
        for place, optimizer in enumerate(_OPTIMIZERS[number % 2 :]):
            day = last_day - timedelta(days=days - 5 - place * (days // 6) - number)
            truth.runs.append(_write_compile(rng, folder / project, project, task, optimizer, day))
        _write_searches(rng, folder / project / "runs.jsonl", project, task, last_day, days, truth)
    return truth


def _write_compile(rng: random.Random, folder: Path, project: str, task: Task, optimizer: str, day: date) -> RunTruth:
    start = _morning(rng, day)
    end = start + timedelta(seconds=rng.randint(300, 2400))
    name = f"{task.name}-{optimizer}-{day:%m%d}"
    compile_ = Compile(rng, task, folder / name)
    model = rng.choice(MODELS)
    written = {
        "miprov2": compile_.write_miprov2, "gepa": compile_.write_gepa, "simba": compile_.write_simba,
        "bootstrap_random_search": compile_.write_random_search, "copro": compile_.write_copro,
    }[optimizer]()  # fmt: skip
    compile_.write_attributes(
        {
            "optimizer": optimizer, "score": written.final if optimizer == "miprov2" else None, "seed": 9,
            "project": project, "run_name": name, "task": task.name, "metric": "exact_match",
            "dataset_hash": f"{task.name}-{task.examples}", "model_config": {"model": model, "temperature": 0.7},
            "start_time": start.isoformat(), "end_time": end.isoformat(), "tags": ["dspy", optimizer],
        }
    )  # fmt: skip
    for path in sorted((folder / name).rglob("*.json")):
        _date(path, end)
    return RunTruth(
        project, name, written.optimizer_type, "completed", task.name, model, start, written.scale, written.initial,
        written.final, len(written.scores), written.full, written.samples, written.correct,
    )  # fmt: skip


def _write_searches(
    rng: random.Random, path: Path, project: str, task: Task, last_day: date, days: int, truth: OptimizationTruth
) -> None:
    """Searches over settings of the program, told line by line as they went."""
    lines: list[dict[str, Any]] = []
    end = datetime(last_day.year, last_day.month, last_day.day, tzinfo=UTC)
    for number, status in enumerate(_STATUSES):
        day = last_day - timedelta(days=(len(_STATUSES) - 1 - number) * (days // len(_STATUSES)))
        start = _morning(rng, day)
        optimizer = _SEARCHES[number % len(_SEARCHES)]
        key, name, model = f"{project}-{day:%Y%m%d}-{optimizer}", f"{task.name} {optimizer}", rng.choice(MODELS)
        lines.append(
            {
                "id": key, "projectId": project, "runName": name, "optimizerType": optimizer, "status": "running",
                "task": task.name, "datasetHash": f"{task.name}-{task.examples}", "startTime": _iso(start),
                "config": {"optimizer": optimizer, "metric": "exact_match", "model_config": {"model": model}},
                "searchSpace": {"temperature": [0.0, 1.0], "examples": [0, 2, 4]}, "tags": ["search", status],
            }
        )  # fmt: skip
        scores, tokens, cost, correct = [], 0, 0.0, 0
        steps = 6 if status == "completed" else rng.randint(2, 4)
        for step in range(steps):
            right = [rng.random() < min(0.9, 0.5 + 0.05 * step) for _ in range(task.examples)]
            used, usd = rng.randint(14_000, 30_000), round(rng.uniform(0.008, 0.06), 6)
            begun = start + timedelta(minutes=2 * step)
            scores.append(sum(right) / len(right))
            tokens, cost, correct = tokens + used, cost + usd, correct + sum(right)
            lines.append(
                {
                    "runId": key, "iteration": step, "score": scores[-1], "tokensUsed": used, "costUsd": usd,
                    "params": {"temperature": round(rng.random(), 2), "examples": rng.choice((0, 2, 4))},
                    "samplesInIteration": len(right), "successfulSamples": sum(right),
                    "iterationStartTime": _iso(begun), "iterationEndTime": _iso(begun + timedelta(seconds=95)),
                }
            )  # fmt: skip
            lines += [
                {
                    "runId": key, "iteration": step, "sampleIndex": place, "score": float(is_right),
                    "input": {"ticket": f"Ticket {place}"}, "expectedOutput": task.labels[place % len(task.labels)],
                    "predictedOutput": task.labels[(place + (not is_right)) % len(task.labels)],
                    "isCorrect": is_right, "latencyMs": rng.randint(150, 900),
                }
                for place, is_right in enumerate(right)
            ]  # fmt: skip
        final = max(scores) if status == "completed" else None
        if status != "running":
            end = start + timedelta(minutes=2 * steps)
            told = {"id": key, "status": status, "initialScore": scores[0], "finalScore": final, "endTime": _iso(end)}
            if status == "failed":
                told["errorMessage"] = f"RateLimitError: {model} answered 429 to 5 attempts"
            lines.append({name: value for name, value in told.items() if value is not None})
        truth.runs.append(
            RunTruth(
                project, name, optimizer, status, task.name, model, start, (0.0, 1.0),
                None if status == "running" else scores[0], final, steps, steps, task.examples * steps, correct,
                tokens, cost, max(scores),
            )
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    _date(path, end)


def _morning(rng: random.Random, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=rng.randint(6 * 3600, 10 * 3600))


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _date(path: Path, moment: datetime) -> None:
    """As if it had been written then: written again, the file is the same to everybody."""
    os.utime(path, (moment.timestamp(), moment.timestamp()))
