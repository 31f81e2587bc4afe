"""Scores of Inspect as numbers: letters, truth values and numbers count, what is unscored stays so."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog
    from inspect_ai.scorer import Score

_LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_MEANS = ("accuracy", "mean")
_SPREADS = ("stderr", "std", "var", "ci", "bootstrap")


def number(value: Any) -> float | None:
    """The value of a score; None where it is no number: not scored (NaN), a text, several values."""
    if isinstance(value, str):
        known = _LETTERS.get(value, _WORDS.get(value.strip().lower()))
        if known is not None:
            return known
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    return None


def primary(header: "EvalLog", scores: Mapping[str, "Score"] | None) -> str | None:
    """Name of the scorer that counts: the first of the task, where the sample has it, else the sample's first."""
    if not scores:
        return None
    names: list[str] = [scorer.name for scorer in header.eval.scorers or []]
    names += [score.scorer for score in (header.results.scores if header.results else [])]
    return next(name for name in [*names, *scores] if name in scores)


def primary_metric(header: "EvalLog") -> float | None:
    """Mean of the first scorer over the samples, as the log gives it."""
    scores = header.results.scores if header.results else []
    if not scores:
        return None
    metrics = {name.rpartition("/")[2]: number(metric.value) for name, metric in scores[0].metrics.items()}
    named = [metrics[name] for name in _MEANS if name in metrics]
    others = [value for name, value in metrics.items() if not name.startswith(_SPREADS)]
    return next(iter([*named, *others]), None)


def is_unit(header: "EvalLog") -> bool:
    """Whether scores that are numbers can be taken as 0 to 1: the log's own mean of them lies there."""
    mean = primary_metric(header)
    return mean is not None and 0 <= mean <= 1
