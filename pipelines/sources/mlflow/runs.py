"""Runs of an MLflow store → runs, iterations and samples."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.sources.mlflow.artifacts import Artifacts, tested
from pipelines.sources.mlflow.store import Store
from pipelines.sources.outputs import (
    PERCENT,
    UNBOUNDED,
    Direction,
    EvaluationKind,
    Iteration,
    Record,
    Run,
    RunStatus,
    Sample,
    Scale,
    Unreadable,
    content_hash,
)
from pipelines.sources.records import BadLine

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

_STATUSES: Mapping[str, RunStatus] = {
    "RUNNING": "running",
    "SCHEDULED": "pending",
    "FINISHED": "completed",
    "FAILED": "failed",
    "KILLED": "cancelled",
}
_DSPY_SCORES: Mapping[str, EvaluationKind] = {"eval_full": "full", "eval": "full", "eval_minibatch": "minibatch"}
_MIPRO_PARAMETERS = frozenset({"num_trials", "minibatch", "minibatch_size", "minibatch_full_eval_steps"})
_LOWER_IS_BETTER = ("loss", "error", "perplexity", "mse", "rmse", "mae", "wer", "latency")
_CONSTANTS: Mapping[str, Any] = {"True": True, "False": False, "None": None}
_PARENT = "mlflow.parentRunId"
_LAST_ITERATION = 2**31 - 1
"""Steps may count more than iterations are numbered by: tokens, or milliseconds since 1970."""


def records(store: Store) -> Iterator[Record]:
    """Everything in the store, run after run. Raises Unreadable."""
    for experiment in store.experiments():
        runs = store.runs(experiment.experiment_id)
        for run_id in store.passed_over(experiment.experiment_id, runs):
            yield _damaged(run_id, "its files are not what MLflow writes")
        runs = [run for run in runs if run.info.lifecycle_stage == "active"]
        known = {run.info.run_id for run in runs}
        children = defaultdict(list)
        for run in runs:
            if (parent := run.data.tags.get(_PARENT)) in known:
                children[parent].append(run)
        for run in runs:
            nested = children.get(run.info.run_id, [])
            if nested or run.data.tags.get(_PARENT) not in known:
                try:
                    found = list(_Optimization(store, experiment.name, run, nested).records())
                except Unreadable as error:
                    found = [_damaged(run.info.run_id, str(error))]
                yield from found


def _damaged(run_id: str, why: str) -> BadLine:
    detail = f"Run {run_id} cannot be read: {why.rstrip('.')}; mend or delete it."
    return BadLine(0, 0, 0, "unexpected_shape", detail, b"")


@dataclass(frozen=True)
class _Evaluation:
    """One iteration with what lies beside it."""

    iteration: Iteration
    samples: list[Sample]


class _Optimization:
    """Turns one run and its children into records."""

    def __init__(self, store: Store, experiment: str, run: "MlflowRun", children: Sequence["MlflowRun"]) -> None:
        self.store, self.experiment, self.run, self.children = store, experiment, run, children
        self.key = run.info.run_id
        self.artifacts = Artifacts(_name(run), store.artifacts(run))
        self.damaged = self.artifacts.damaged
        self.is_dspy = run.data.tags.get("mlflow.autologging") == "dspy" or "lm_params" in run.data.params
        self.metric = self._metric()

    def records(self) -> Iterator[Record]:
        evaluations = self._evaluations()
        yield self._run(evaluations)
        for evaluation in evaluations:
            yield evaluation.iteration
            yield from evaluation.samples
        yield from self.damaged

    def _metric(self) -> str | None:
        """Name of the metric that is the score of runs that DSPy did not log."""
        names = {name for run in (self.children or [self.run]) for name in run.data.metrics}
        return next(iter(names)) if len(names) == 1 else "score" if "score" in names else None

    def _evaluations(self) -> list[_Evaluation]:
        if self.children:
            return [self._of_run(child, number, _kind(child)) for number, child in enumerate(self.children)]
        kinds = {name: kind for name, kind in _DSPY_SCORES.items() if name in self.run.data.metrics}
        if not self.is_dspy or not kinds:
            kinds = {self.metric: "full"} if self.metric else {}
        steps = [(value, kind) for name, kind in kinds.items() for value in self.store.history(self.key, name)]
        if len(steps) == 1:
            return [self._of_run(self.run, 0, steps[0][1])]
        steps.sort(key=lambda step: (step[0].timestamp, step[0].step))
        numbers = [value.step for value, _ in steps]
        # Steps name the iterations where each has its own; evaluations of two kinds are each counted from 0.
        if len(set(numbers)) < len(numbers) or not all(0 <= number <= _LAST_ITERATION for number in numbers):
            numbers = list(range(len(steps)))
        return [
            _Evaluation(self._of_step(value, number, kind), [])
            for number, (value, kind) in zip(numbers, steps, strict=True)
        ]

    def _of_run(self, run: "MlflowRun", number: int, kind: EvaluationKind) -> _Evaluation:
        artifacts = self.artifacts if run is self.run else Artifacts(_name(run), self.store.artifacts(run))
        program = artifacts.program("model.json")
        program_hash = content_hash(program) if program else None
        samples = artifacts.samples(self.key, number, program_hash)
        if artifacts is not self.artifacts:
            self.damaged += artifacts.damaged
        judged = [sample.is_correct for sample in samples]
        start, end = _span(run)
        metadata = {
            "run_id": run.info.run_id,
            "run_name": run.info.run_name,
            "status": run.info.status,
            "metrics": _finite(run.data.metrics),
        }
        iteration = Iteration(
            run_key=self.key,
            iteration=number,
            evaluation_kind=kind,
            score_raw=_score(run.data.metrics, "eval" if self.is_dspy else self.metric),
            candidate_key=program_hash[:32] if program_hash else None,
            program_hash=program_hash,
            params=dict(run.data.params),
            program=program,
            samples_in_iteration=len(samples) if samples else None,
            successful_samples=judged.count(True) if samples and None not in judged else None,
            iteration_start_time=start,
            iteration_end_time=end,
            metadata={name: value for name, value in metadata.items() if value},
        )
        return _Evaluation(iteration, samples)

    def _of_step(self, value: "Metric", number: int, kind: EvaluationKind) -> Iteration:
        return Iteration(
            run_key=self.key,
            iteration=number,
            evaluation_kind=kind,
            score_raw=value.value if math.isfinite(value.value) else None,
            iteration_end_time=_moment(value.timestamp),
            metadata={"metric": value.key, "step": value.step},
        )

    def _run(self, evaluations: Sequence[_Evaluation]) -> Run:
        run, info = self.run, self.run.info
        start, end = _span(run)
        program = self.artifacts.program("best_model.json")
        scores = [e.iteration.score_raw for e in evaluations if e.iteration.score_raw is not None]
        optimizer = self._optimizer()
        full = [e.iteration.score_raw for e in evaluations if e.iteration.evaluation_kind == "full"]
        tags = {name: value for name, value in run.data.tags.items() if not name.startswith("mlflow.")}
        metadata = {
            "experiment": self.experiment,
            "metrics": _finite(run.data.metrics),
            "tags": tags,
            "parent_run_id": run.data.tags.get(_PARENT),
            "source": run.data.tags.get("mlflow.source.name"),
            "git_commit": run.data.tags.get("mlflow.source.git.commit"),
            "note": run.data.tags.get("mlflow.note.content"),
        }
        return Run(
            key=self.key,
            name=_name(run),
            optimizer_type=optimizer,
            status=_STATUSES.get(info.status, "pending"),
            config=self._config(),
            task=self.experiment,
            dataset_hash=self._dataset_hash(evaluations),
            start_time=start,
            end_time=end,
            score_scale=self._scale(scores),
            score_direction=self._direction(),
            # MIPROv2 measures the program that it was given before any other.
            initial_score_raw=full[0] if full and optimizer == "miprov2" else None,
            final_score_raw=self._final(full),
            best_program=program,
            final_program=program,
            program_hash=content_hash(program) if program else None,
            metadata={name: value for name, value in metadata.items() if value},
            created_at=start,
        )

    def _final(self, full: Sequence[float | None]) -> float | None:
        """Score of what the run ended with: DSPy returns the best candidate, of others the last value counts."""
        if self.is_dspy:
            return max((score for score in full if score is not None), default=None)
        return _score(self.run.data.metrics, self.metric)

    def _optimizer(self) -> str:
        if not self.is_dspy:
            return "custom"
        if self.run.data.tags.get("mlflow.autologging") != "dspy":
            return "evaluation"
        has_minibatches = any(_kind(child) == "minibatch" for child in self.children)
        # Of the other optimizers autologging does not keep the name.
        return "miprov2" if has_minibatches or _MIPRO_PARAMETERS & self.run.data.params.keys() else "dspy"

    def _config(self) -> dict[str, Any]:
        config = {name: _value(text) for name, text in self.run.data.params.items()}
        if isinstance(language_model := config.get("lm_params"), dict) and "model" in language_model:
            config["model_config"] = language_model
        if not self.is_dspy and self.metric:
            config.setdefault("metric", self.metric)
        return config

    def _dataset_hash(self, evaluations: Sequence[_Evaluation]) -> str | None:
        examples = self.artifacts.examples("valset.json") or self.artifacts.examples("trainset.json")
        if examples is None and not self.children and evaluations:
            examples = tested(evaluations[0].samples)
        if examples is not None:
            return examples.hash
        inputs = self.run.inputs.dataset_inputs if self.run.inputs else []
        return next((found.dataset.digest for found in inputs), None)

    def _scale(self, scores: Sequence[float]) -> Scale:
        """Percent for DSPy, as long as its metric keeps to 0..1."""
        return PERCENT if self.is_dspy and all(0 <= score <= 100 for score in scores) else UNBOUNDED

    def _direction(self) -> Direction:
        words = (self.metric or "").lower().replace("-", "_").replace("/", "_").split("_")
        return "minimize" if not self.is_dspy and set(words) & set(_LOWER_IS_BETTER) else "maximize"


def _name(run: "MlflowRun") -> str:
    return str(run.info.run_name or run.info.run_id)


def _kind(run: "MlflowRun") -> EvaluationKind:
    return "minibatch" if (run.info.run_name or "").startswith("eval_minibatch") else "full"


def _score(metrics: Mapping[str, float], name: str | None) -> float | None:
    value = metrics.get(name) if name else None
    return value if value is not None and math.isfinite(value) else None


def _finite(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """The metrics as JSON can hold them: numbers that are none as text."""
    return {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}


def _value(text: str) -> Any:
    """A parameter as it was before MLflow made text of it, where that can be told."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _span(run: "MlflowRun") -> tuple[datetime | None, datetime | None]:
    """Start and end; a clock that was set back in between has no end to give."""
    start, end = _moment(run.info.start_time), _moment(run.info.end_time)
    return start, end if start and end and end >= start else None


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
