"""GEPA: ``detailed_results`` of the program it returns, and the ``log_dir`` it writes while it runs.

Candidates are numbered from 0, the program as given; each descends from others, which it rewrites or merges, and is
measured on the whole validation set. What was tried on small samples on the way and thrown away is only counted. The
scores of a run without ``detailed_results`` are in a pickle, so its candidates stay unscored.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipelines.sources.outputs import Unreadable
from pipelines.sources.records import BadLine

from .course import Course, Evaluation, Score, converted
from .layout import OUTPUTS, load
from .programs import Program, program_of

_OUTPUT = re.compile(r"task_(\d+)/iter_\d+_prog_(\d+)\.json")


class Results(msgspec.Struct):
    """``detailed_results``; up to DSPy 3.0 with lists by example, since then with objects."""

    candidates: list[Any]
    val_aggregate_scores: list[float | None]
    parents: list[list[int | None] | None] = []
    val_subscores: list[dict[str, bool | float | None] | list[bool | float | None]] = []
    discovery_eval_counts: list[int] = []
    total_metric_calls: int | None = None
    num_full_val_evals: int | None = None
    best_idx: int | None = None
    seed: int | None = None


class Task(msgspec.Struct):
    """One rewriting within a step."""

    parent_idx: int | None = None


class Step(msgspec.Struct):
    """One step of the run log: a candidate is picked, rewritten and, where it got better, kept."""

    i: int
    selected_program_candidate: int | None = None
    tasks: list[Task] = []
    subsample_ids: list[Any] = []
    subsample_scores: list[bool | float | None] = []
    new_subsample_scores: list[bool | float | None] = []
    new_program_idx: int | None = None
    invoked_merge: bool = False


def read(folder: Path, logs: Sequence[Path], final: Program | None) -> Course:
    """The course of the GEPA run whose files stand in ``folder`` and ``logs``. ``final``: the program it returned."""
    bad: list[BadLine] = []
    steps = list(_steps(folder, logs, bad))
    born: dict[int | None, Step] = {step.new_program_idx: step for step in steps if step.new_program_idx is not None}
    outputs = dict(_outputs(folder, logs, bad))
    path = folder / "detailed_results.json"
    if path.is_file():
        try:
            results = msgspec.convert(load(path, folder), Results)
        except msgspec.ValidationError as error:
            raise Unreadable(
                f"detailed_results.json does not hold what GEPA writes: {error}; write it anew."
            ) from error
        count = len(results.val_aggregate_scores)
        if len(results.candidates) != count:
            raise Unreadable(
                f"detailed_results.json has {len(results.candidates)} candidates and {count} scores; write it again."
            )
    else:
        found = [load(log / "candidates.json", folder) for log in logs if (log / "candidates.json").is_file()]
        candidates = found[0] if found and isinstance(found[0], list) else []
        results = Results(
            candidates,
            [None] * len(candidates),
            parents=[_parents(born.get(number)) for number in range(len(candidates))],
        )
    evaluations = [_evaluation(results, number, born, outputs, final) for number in range(len(results.candidates))]
    scores = results.val_aggregate_scores
    best = results.best_idx
    if best is None or not 0 <= best < len(scores):
        best = max((n for n, s in enumerate(scores) if s is not None), key=lambda n: scores[n] or 0.0, default=None)
    return Course(
        "gepa",
        evaluations,
        is_percent=False,
        initial=scores[0] if scores else None,
        final=None if best is None else scores[best],
        best=final if best is None else evaluations[best].program or final,
        total_calls=results.total_metric_calls,
        metadata={
            name: value
            for name, value in (
                ("full_evaluations", results.num_full_val_evals),
                ("steps", len(steps) or None),
                ("kept", len(born) if steps else None),
                ("merges_tried", sum(step.invoked_merge for step in steps) if steps else None),
            )
            if value is not None
        },
        bad=bad,
    )


def _evaluation(
    results: Results,
    number: int,
    born: Mapping[int | None, Step],
    outputs: Mapping[tuple[int, int], Any],
    final: Program | None,
) -> Evaluation:
    candidate = results.candidates[number]
    program, instructions = program_of(candidate), None
    if program is None and isinstance(candidate, dict):
        instructions = {name: text for name, text in candidate.items() if isinstance(text, str)}
        program = final.with_instructions(instructions) if final else None
    parents = results.parents[number] if number < len(results.parents) else None
    subscores = results.val_subscores[number] if number < len(results.val_subscores) else {}
    if isinstance(subscores, list):
        subscores = {str(index): value for index, value in enumerate(subscores)}
    counts = results.discovery_eval_counts
    step = born.get(number)
    scores = []
    for position, (name, value) in enumerate(subscores.items()):
        index = int(name) if name.isdecimal() else position
        scores.append(Score(index, value, outputs.get((index, number))))
    return Evaluation(
        number,
        score=results.val_aggregate_scores[number],
        program=program,
        candidate_key=str(number),
        parents=sorted({parent for parent in parents or [] if parent is not None and 0 <= parent < number}),
        calls=len(subscores) or None,
        calls_so_far=counts[number] if number < len(counts) else None,
        scores=scores,
        instructions=instructions,
        metadata={
            "step": step.i,
            "subsample_ids": step.subsample_ids,
            "subsample_scores": step.subsample_scores,
            "new_subsample_scores": step.new_subsample_scores,
        }
        if step
        else {},
    )  # fmt: skip


def _parents(step: Step | None) -> list[int | None]:
    if step is None:
        return []
    return [task.parent_idx for task in step.tasks] or [step.selected_program_candidate]


def _steps(folder: Path, logs: Sequence[Path], bad: list[BadLine]) -> Iterator[Step]:
    for path in (log / "run_log.json" for log in logs):
        if path.is_file():
            values = load(path, folder)
            entries = [(str(number), value) for number, value in enumerate(values if isinstance(values, list) else [])]
            yield from (step for _, step in converted(entries, Step, bad, "step {} of run_log.json"))


def _outputs(folder: Path, logs: Sequence[Path], bad: list[BadLine]) -> Iterator[tuple[tuple[int, int], Any]]:
    """Best outputs by example and candidate."""
    for log in logs:
        for path in sorted((log / OUTPUTS).glob("task_*/iter_*_prog_*.json")):
            if found := _OUTPUT.fullmatch(path.relative_to(log / OUTPUTS).as_posix()):
                try:
                    yield (int(found[1]), int(found[2])), load(path, folder)
                except Unreadable as error:
                    bad.append(BadLine(0, 0, 0, "malformed_json", f"An output is left out: {error}", b""))
