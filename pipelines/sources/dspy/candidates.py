"""``candidate_programs``: what an optimizer measured, best first, as it attaches it to the program it returns.

Written by BootstrapFewShotWithRandomSearch, COPRO, SIMBA and MIPROv2.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from pipelines.sources.records import BadLine

from .course import Course, Evaluation, Score, best_of, converted
from .programs import program_of

_UNCOMPILED_SEED = -3
"""With which random search measures the program as it was given."""


class Candidate(msgspec.Struct):
    """One measured program; which fields it has depends on the optimizer."""

    score: float | None = None
    program: Any = None
    full_eval: bool | None = None
    subscores: list[bool | float | None] | None = None
    """One an example; a metric that says right or wrong gives booleans."""
    seed: int | None = None
    instruction: str | None = None
    prefix: str | None = None
    depth: int | None = None


def read_candidates(values: Any, name: str, bad: list[BadLine]) -> list[Candidate]:
    """The candidates of one file, in its order."""
    entries = [(str(number), value) for number, value in enumerate(values if isinstance(values, list) else [], 1)]
    return [candidate for _, candidate in converted(entries, Candidate, bad, f"candidate {{}} of {name}")]


def read_random_search(candidates: Sequence[Candidate]) -> Course:
    """The course of a random search: seeds in the order in which they were tried, from -3."""
    by_seed = sorted(candidates, key=lambda candidate: candidate.seed if candidate.seed is not None else 0)
    numbers = [_iteration(candidate, rank) for rank, candidate in enumerate(by_seed)]
    if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        numbers = list(range(len(by_seed)))
    evaluations = [
        replace(
            _evaluation(candidate, number),
            params={} if candidate.seed is None else {"seed": candidate.seed},
            calls=None if candidate.subscores is None else len(candidate.subscores),
            scores=[Score(index, value) for index, value in enumerate(candidate.subscores or [])],
        )
        for number, candidate in zip(numbers, by_seed, strict=True)
    ]
    first = by_seed[0] if by_seed else None
    return _course("bootstrap", evaluations, first.score if first and first.seed == _UNCOMPILED_SEED else None)


def read_copro(candidates: Sequence[Candidate], statistics: dict[str, Any]) -> Course:
    """The course of a COPRO run, depth by depth. ``statistics``: by depth, of each predictor."""
    by_depth = sorted(candidates, key=lambda candidate: candidate.depth or 0)
    evaluations = [
        replace(
            _evaluation(candidate, number),
            params={"instruction": candidate.instruction, "prefix": candidate.prefix, "depth": candidate.depth},
        )
        for number, candidate in enumerate(by_depth)
    ]
    # The keys are addresses in memory, which say nothing.
    metadata = {name: list(found.values()) for name, found in statistics.items() if isinstance(found, dict)}
    return replace(_course("copro", evaluations, None), metadata=metadata)


def read_others(optimizer_type: str, candidates: Sequence[Candidate], *, is_percent: bool) -> Course:
    """The course of an optimizer that says no more than scores: candidates by rank."""
    ranked = [_evaluation(candidate, number) for number, candidate in enumerate(candidates)]
    return replace(_course(optimizer_type, ranked, None), is_percent=is_percent)


def _course(optimizer_type: str, evaluations: Sequence[Evaluation], initial: float | None) -> Course:
    best = best_of(evaluations)
    return Course(
        optimizer_type,
        evaluations,
        is_percent=True,
        initial=initial,
        final=best.score if best else None,
        final_kind=best.kind if best else "full",
        best=best.program if best else None,
    )


def _evaluation(candidate: Candidate, number: int) -> Evaluation:
    program = program_of(candidate.program)
    return Evaluation(
        number,
        "minibatch" if candidate.full_eval is False else "full",
        candidate.score,
        program,
        candidate_key=program.hash[:16] if program else None,
    )


def _iteration(candidate: Candidate, rank: int) -> int:
    return rank if candidate.seed is None else candidate.seed - _UNCOMPILED_SEED
