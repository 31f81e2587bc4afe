"""``trial_logs`` of MIPROv2 and SIMBA.

MIPROv2 measures candidates on minibatches and every few trials the one with the best mean on the whole set. Up to
DSPy 2.5 both stood in one trial (``score``, ``full_eval``, ``mb_score``); since then a full evaluation is a trial of
its own (``full_eval_score``). Only full scores say how good a program is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from pipelines.sources.outputs import EvaluationKind
from pipelines.sources.records import BadLine

from .candidates import Candidate
from .course import Course, Evaluation, best_of, converted
from .layout import bad_part
from .programs import Program, program_of


class Trial(msgspec.Struct):
    """One entry of the trial log."""

    mb_score: float | None = None
    full_eval_score: float | None = None
    score: float | None = None
    full_eval: bool | None = None
    train_score: float | None = None
    total_eval_calls_so_far: int | None = None
    mb_program: Any = None
    full_eval_program: Any = None
    program: Any = None


def read_miprov2(logs: dict[str, Any], saved: Mapping[tuple[int, EvaluationKind], Program], score: Any) -> Course:
    """The course of a MIPROv2 run. ``saved``: programs in its log_dir by trial; ``score``: of what it returned."""
    bad: list[BadLine] = []
    trials = _by_number(logs, bad)
    evaluations: list[Evaluation] = []
    for number, trial, entry in trials:
        params = {name: value for name, value in entry.items() if "_predictor_" in name}
        for kind, value, dumped in _measured(trial):
            # A full evaluation of old versions is of another candidate than the trial that it stands with.
            is_of_trial = kind == "minibatch" or trial.mb_score is None
            program = program_of(dumped) or saved.get((number, kind))
            evaluations.append(
                Evaluation(
                    number, kind, value, program,
                    candidate_key=program.hash[:16] if program else None,
                    params=params if is_of_trial else {},
                    calls_so_far=trial.total_eval_calls_so_far,
                )
            )  # fmt: skip
    evaluations = _numbered(evaluations)
    first = evaluations[0] if evaluations else None
    best = best_of(evaluations)
    final = float(score) if isinstance(score, int | float) else best.score if best else None
    is_measured_whole = best is None or best.kind == "full" or final != best.score
    return Course(
        "miprov2",
        evaluations,
        is_percent=True,
        initial=first.score if first and first.kind == "full" and not first.params else None,
        final=final,
        final_kind="full" if is_measured_whole else "minibatch",
        best=best.program if best else None,
        total_calls=max((e.calls_so_far for e in evaluations if e.calls_so_far is not None), default=None),
        bad=bad,
    )


def read_simba(logs: dict[str, Any], candidates: list[Candidate]) -> Course:
    """The course of a SIMBA run: the program it began with, then one program a step, each on the training set."""
    bad: list[BadLine] = []
    steps = [(number, trial) for number, trial, _ in _by_number(logs, bad) if trial.train_score is not None]
    by_score: dict[float | None, list[Program]] = {}
    for candidate in candidates:
        if (program := program_of(candidate.program)) is not None:
            by_score.setdefault(candidate.score, []).append(program)

    def program_at(score: float | None) -> Program | None:
        found = by_score.get(score, [])
        return found[0] if len({program.hash for program in found}) == 1 else None

    # The candidates are those of the steps and the unchanged program: its score is the one that no step has.
    rest = [candidate.score for candidate in candidates]
    for _, trial in steps:
        if trial.train_score in rest:
            rest.remove(trial.train_score)
    initial = rest[0] if len(rest) == 1 else None
    scores = [(number + 1, trial.train_score) for number, trial in steps]
    if initial is not None:
        scores.insert(0, (0, initial))
    evaluations = [Evaluation(number, score=score, program=program_at(score)) for number, score in scores]
    best = best_of(evaluations)
    return Course(
        "simba",
        evaluations,
        is_percent=False,
        initial=initial,
        final=best.score if best else None,
        best=best.program if best else None,
        bad=bad,
    )


def _by_number(logs: dict[str, Any], bad: list[BadLine]) -> list[tuple[int, Trial, dict[str, Any]]]:
    """Trials in order."""
    named = []
    for name, entry in logs.items():
        try:
            named.append((int(name), entry))
        except ValueError:
            bad.append(bad_part(f"trial {name} of trial_logs.json", "its number is no whole number", entry))
    named.sort(key=lambda trial: trial[0])
    good = converted([(str(number), entry) for number, entry in named], Trial, bad, "trial {} of trial_logs.json")
    return [(int(name), trial, logs[name]) for name, trial in good]


def _measured(trial: Trial) -> Iterator[tuple[EvaluationKind, float | None, Any]]:
    """Kind, score and program of each evaluation of the trial."""
    if trial.full_eval is not None:
        if trial.mb_score is not None:
            yield "minibatch", trial.mb_score, trial.program
            if trial.full_eval:
                yield "full", trial.score, None
        else:
            yield "full" if trial.full_eval else "minibatch", trial.score, trial.program
        return
    if trial.mb_score is not None or trial.mb_program is not None:
        yield "minibatch", trial.mb_score, trial.mb_program
    if trial.full_eval_score is not None or trial.full_eval_program is not None:
        yield "full", trial.full_eval_score, trial.full_eval_program


def _numbered(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Evaluations by the numbers of their trials; counted on from the first where a trial holds two or is below 0."""
    numbers = [evaluation.number for evaluation in evaluations]
    if len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        first = max(0, numbers[0])
        evaluations = [
            replace(evaluation, number=number, metadata={"trial": evaluation.number})
            for number, evaluation in enumerate(evaluations, first)
        ]
    sized, before = [], 0
    for evaluation in evaluations:
        so_far = evaluation.calls_so_far
        sized.append(replace(evaluation, calls=so_far - before if so_far is not None and so_far > before else None))
        before = so_far or before
    return sized
