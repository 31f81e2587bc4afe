"""What the files of one optimizer say about the course of a run, in the terms that all optimizers share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from pipelines.sources.outputs import PERCENT, UNBOUNDED, UNIT, EvaluationKind, Scale
from pipelines.sources.records import BadLine

from .layout import bad_part
from .programs import Program

T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """What the metric gave one example."""

    index: int
    value: float | None
    output: Any = None


@dataclass(frozen=True)
class Evaluation:
    """One candidate measured once."""

    number: int
    kind: EvaluationKind = "full"
    score: float | None = None
    program: Program | None = None
    candidate_key: str | None = None
    parents: Sequence[int] = ()
    params: dict[str, Any] = field(default_factory=dict)
    calls: int | None = None
    """Metric calls of this evaluation."""
    calls_so_far: int | None = None
    scores: Sequence[Score] = ()
    instructions: dict[str, str] | None = None
    """Of a candidate whose whole program is not known."""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Course:
    """A run as its optimizer tells it."""

    optimizer_type: str
    evaluations: Sequence[Evaluation]
    is_percent: bool
    """DSPy scores 0..100 where it averages with Evaluate, else 0..1."""
    initial: float | None = None
    final: float | None = None
    final_kind: EvaluationKind = "full"
    best: Program | None = None
    total_calls: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    bad: Sequence[BadLine] = ()

    @property
    def scale(self) -> Scale:
        """Scale of every score of the run; a metric that leaves what DSPy expects knows no bounds."""
        expected = PERCENT if self.is_percent else UNIT
        scores = [evaluation.score for evaluation in self.evaluations]
        return fitting(expected, [*scores, self.initial, self.final])


def fitting(scale: tuple[float, float] | Scale, scores: Sequence[float | None]) -> Scale:
    """``scale`` where it holds all scores, else no bounds."""
    low, high = scale
    known = [score for score in scores if score is not None]
    if low is None or high is None or any(not low <= score <= high for score in known):
        return UNBOUNDED
    return scale


def converted(values: Sequence[tuple[str, Any]], type_: type[T], bad: list[BadLine], where: str) -> list[tuple[str, T]]:
    """The named values as ``type_``; those that are something else are put with ``bad``, named by ``where``."""
    good = []
    for name, value in values:
        try:
            good.append((name, msgspec.convert(value, type_)))
        except msgspec.ValidationError as error:
            bad.append(bad_part(where.format(name), str(error), value))
    return good


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The best full evaluation, a minibatch one only where no full one has a score; of equals the first."""
    key: Callable[[Evaluation], tuple[bool, float]] = lambda e: (e.kind == "full", e.score or 0.0)  # noqa: E731
    return max((e for e in evaluations if e.score is not None), key=key, default=None)
