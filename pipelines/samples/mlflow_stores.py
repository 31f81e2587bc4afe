"""Writes sample MLflow stores, as ``mlruns`` folders: DSPy compiles under autologging, and a training that is logged.

The same arguments give the same bytes. A candidate answers each example rightly or wrongly; scores are counted from
that. The folders name a machine that they were made on, as folders that were copied do.

    FOLDER/<project>/mlruns/<experiment>/<run>/…
"""

import json
import os
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pipelines.samples.dspy_exports import VERSIONS, Task
from pipelines.samples.generator import LAST_DAY, PROJECT_NAMES
from pipelines.samples.optimizations import MODELS, TASKS, OptimizationTruth, RunTruth

Status = Literal["FINISHED", "FAILED"]

_STATUS_NUMBERS = {"FINISHED": 3, "FAILED": 4}
_COMPILES: Sequence[Status] = ("FINISHED", "FAILED", "FINISHED")
_CANDIDATES = 6
_MINIBATCH = 8
_HINTS = (
    "",
    " Name the queue and nothing else.",
    " Weigh the last sentence most.",
    " Prefer the team that can act today.",
)


def write(
    folder: Path,
    *,
    seed: int = 2026,
    days: int = 60,
    last_day: date = LAST_DAY,
    projects: Sequence[str] = PROJECT_NAMES,
) -> OptimizationTruth:
    """Writes one store a project, of runs within the days up to ``last_day``; returns what they hold."""
    truth = OptimizationTruth(folder)
    for number, project in enumerate(projects):
        rng = random.Random(f"{seed}:mlflow:{project}")  # noqa: S311  # the same seed must give the same bytes
        begin = datetime(last_day.year, last_day.month, last_day.day, 11, tzinfo=UTC) - timedelta(days=days - 14)
        experiment = _Experiment(rng, folder / project / "mlruns", project, TASKS[number % len(TASKS)], begin)
        for week, status in enumerate(_COMPILES):
            truth.runs.append(experiment.compile(begin + timedelta(days=week * days // 4 + number), status))
        truth.runs.append(experiment.train(begin + timedelta(days=days // 2)))
        experiment.date_files(begin + timedelta(days=3 * days // 4))
    return truth


@dataclass(frozen=True)
class _Examples:
    """A data set: what is given and what is right."""

    texts: Sequence[str]
    labels: Sequence[str]

    def table(self) -> dict[str, Any]:
        rows = [list(row) for row in zip(self.texts, self.labels, strict=True)]
        return {"columns": ["ticket", "queue"], "data": rows}


class _Experiment:
    """One experiment of a store; runs are written into it."""

    def __init__(self, rng: random.Random, store: Path, project: str, task: Task, created: datetime) -> None:
        self.rng, self.store, self.project, self.task = rng, store, project, task
        self.id = str(rng.randrange(10**17, 10**18))
        self.home = f"file:///home/dev/{project}/mlruns/{self.id}"
        self.examples = _Examples(
            [f"Case {number}: the {rng.choice(task.labels)} part is acting up" for number in range(task.examples)],
            [rng.choice(task.labels) for _ in range(task.examples)],
        )
        milliseconds = _milliseconds(created)
        self._yaml(
            store / self.id,
            {
                "artifact_location": self.home, "creation_time": milliseconds, "experiment_id": f"'{self.id}'",
                "last_update_time": milliseconds, "lifecycle_stage": "active", "name": task.name,
            },
        )  # fmt: skip

    def compile(self, start: datetime, status: Status) -> RunTruth:
        """A compile by MIPROv2 with its evaluations as children; one that fails ends after its first minibatches."""
        rng, task, model = self.rng, self.task, self.rng.choice(MODELS)
        settings = json.dumps({"model": model, "model_type": "chat", "temperature": 0.7, "max_tokens": 1000})
        parent, name = self._id(), f"{task.name}-{start:%m%d}"
        programs = [self._program(candidate) for candidate in range(_CANDIDATES)]
        quality = [rng.uniform(0.45, 0.9) for _ in programs]
        course = [(0, "full"), *[(candidate, "minibatch") for candidate in range(1, _CANDIDATES)]]
        if status == "FINISHED":
            course += [(max(range(1, _CANDIDATES), key=quality.__getitem__), "full")]
        scores: dict[str, list[float]] = {"full": [], "minibatch": []}
        clock, seen = start + timedelta(seconds=20), [0, 0]
        for candidate, kind in course:
            size = task.examples if kind == "full" else _MINIBATCH
            places = rng.sample(range(task.examples), size)
            right = [rng.random() < quality[candidate] for _ in places]
            score = round(100 * sum(right) / size, 2)
            ended = clock + timedelta(seconds=2 * size)
            self._run(
                self._id(), f"eval_{kind}_{len(scores[kind])}", clock, ended,
                tags={"mlflow.parentRunId": parent},
                params={"Router.route.signature.instructions": self._instructions(candidate), "lm_params": settings},
                metrics={"eval": [(ended, score, 0)]},
                artifacts={"model.json": programs[candidate], "result_table.json": self._results(places, right)},
            )  # fmt: skip
            scores[kind].append(score)
            seen = [seen[0] + size, seen[1] + sum(right)]
            clock = ended + timedelta(seconds=3)
        artifacts = {"trainset.json": self.examples.table(), "valset.json": self.examples.table()}
        if status == "FINISHED":
            artifacts["best_model.json"] = programs[course[-1][0] if scores["full"][-1] >= scores["full"][0] else 0]
        self._run(
            parent, name, start, clock, status=status, tags={"mlflow.autologging": "dspy"},
            params={"num_trials": "5", "minibatch": "True", "minibatch_size": str(_MINIBATCH), "lm_params": settings},
            metrics={f"eval_{kind}": [(clock, score, step) for step, score in enumerate(found)]
                     for kind, found in scores.items()},
            artifacts=artifacts,
        )  # fmt: skip
        return RunTruth(
            self.project, name, "miprov2", "completed" if status == "FINISHED" else "failed", task.name, model, start,
            (0.0, 100.0), scores["full"][0], max(scores["full"]), len(course), len(scores["full"]), *seen,
        )  # fmt: skip

    def train(self, start: datetime) -> RunTruth:
        """A training of a small classifier that logs its loss step by step."""
        losses = [round(2 / (step + 1) + self.rng.random() / 10, 4) for step in range(10)]
        end = start + timedelta(minutes=len(losses))
        name, model = f"{self.task.name}-classifier", "distil-encoder-66m"
        self._run(
            self._id(), name, start, end, tags={"team": "routing"}, params={"model": model, "learning_rate": "0.0003"},
            metrics={"val_loss": [(start + timedelta(minutes=n + 1), loss, n) for n, loss in enumerate(losses)]},
            artifacts={},
        )  # fmt: skip
        return RunTruth(
            self.project, name, "custom", "completed", self.task.name, model, start, (0.0, float("inf")), None,
            losses[-1], len(losses), len(losses), 0, 0,
        )  # fmt: skip

    def date_files(self, moment: datetime) -> None:
        """As if all had been written then: written again, the store is the same to everybody."""
        for path in self.store.rglob("*"):
            os.utime(path, (moment.timestamp(), moment.timestamp()))

    def _program(self, candidate: int) -> dict[str, Any]:
        demos = [
            {"augmented": True, "ticket": text, "queue": label}
            for text, label in list(zip(self.examples.texts, self.examples.labels, strict=True))[: candidate // 2]
        ]
        fields = [{"prefix": "Ticket:", "description": "${ticket}"}, {"prefix": "Queue:", "description": "${queue}"}]
        signature = {"instructions": self._instructions(candidate), "fields": fields}
        return {
            "route": {"traces": [], "train": [], "demos": demos, "signature": signature, "lm": None},
            "metadata": {"dependency_versions": VERSIONS},
        }

    def _instructions(self, candidate: int) -> str:
        return self.task.instructions + _HINTS[candidate % len(_HINTS)]

    def _results(self, places: Sequence[int], right: Sequence[bool]) -> dict[str, Any]:
        rows = []
        for place, is_right in zip(places, right, strict=True):
            label = self.examples.labels[place]
            wrong = self.task.labels[(self.task.labels.index(label) + 1) % len(self.task.labels)]
            rows.append([float(is_right), self.examples.texts[place], label, label if is_right else wrong])
        return {"columns": ["score", "example_ticket", "example_queue", "pred_queue"], "data": rows}

    def _run(
        self,
        run_id: str,
        name: str,
        start: datetime,
        end: datetime,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        metrics: Mapping[str, Sequence[tuple[datetime, float, int]]],
        artifacts: Mapping[str, Any],
        status: Status = "FINISHED",
    ) -> None:
        folder = self.store / self.id / run_id
        self._yaml(
            folder,
            {
                "artifact_uri": f"{self.home}/{run_id}/artifacts", "end_time": _milliseconds(end),
                "entry_point_name": "''", "experiment_id": f"'{self.id}'", "lifecycle_stage": "active",
                "run_id": f"'{run_id}'", "run_name": name, "run_uuid": f"'{run_id}'", "source_name": "''",
                "source_type": 4, "source_version": "''", "start_time": _milliseconds(start),
                "status": _STATUS_NUMBERS[status], "tags": "[]", "user_id": "dev",
            },
        )  # fmt: skip
        for kind, texts in (
            ("tags", {"mlflow.runName": name, "mlflow.user": "dev", **tags}),
            ("params", params),
            ("metrics", {key: _history(values) for key, values in metrics.items()}),
            ("artifacts", {key: json.dumps(value) for key, value in artifacts.items()}),
        ):
            (folder / kind).mkdir(exist_ok=True)
            for key, text in texts.items():
                (folder / kind / key).write_text(text, encoding="utf-8")

    def _id(self) -> str:
        return uuid.UUID(int=self.rng.getrandbits(128), version=4).hex

    @staticmethod
    def _yaml(folder: Path, fields: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name}: {value}\n" for name, value in fields.items())
        (folder / "meta.yaml").write_text(text, encoding="utf-8")


def _history(values: Sequence[tuple[datetime, float, int]]) -> str:
    return "".join(f"{_milliseconds(moment)} {value} {step}\n" for moment, value, step in values)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
