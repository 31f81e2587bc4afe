"""Trajectories of bounded size: enough to see what happened, whatever was said."""

from collections.abc import Sequence
from typing import Any

from pipelines.sources import cutting

MAX_STEPS = 500
MAX_CHARACTERS = 4000


def cut(text: str) -> str:
    """The text, or its beginning and how much of it was left out."""
    if len(text) <= MAX_CHARACTERS:
        return text
    kept = cutting.cut(text, MAX_CHARACTERS)
    return f"{kept}… ({len(text) - len(kept)} more characters)"


def bounded(steps: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """``steps`` as a trajectory with what else is known of it; ``steps_left_out`` counts those beyond MAX_STEPS."""
    trajectory: dict[str, Any] = {"steps": list(steps[:MAX_STEPS])}
    if len(steps) > MAX_STEPS:
        trajectory["steps_left_out"] = len(steps) - MAX_STEPS
    return trajectory | {name: value for name, value in more.items() if value is not None}
