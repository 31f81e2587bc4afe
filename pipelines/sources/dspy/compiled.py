"""A compiled run: its course, brought together from whatever its optimizer and its export left in a folder."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from pipelines.sources.documents import Document
from pipelines.sources.lines import in_utc
from pipelines.sources.outputs import (
    UNIT,
    EvaluationKind,
    Iteration,
    ProjectId,
    Record,
    Run,
    Sample,
    Unreadable,
    content_hash,
    shown_name,
)
from pipelines.sources.records import BadLine

from . import gepa
from .candidates import Candidate, read_candidates, read_copro, read_others, read_random_search
from .course import Course, Evaluation, fitting
from .layout import PROGRAMS, bad_part, left_out, load, logs_of
from .programs import Program, program_of
from .trials import read_miprov2, read_simba

_MEASURED = ("trial_logs", "candidate_programs", "mb_candidate_programs", "detailed_results")
"""Exports that tell one run from another."""
_TRIAL_PROGRAM = re.compile(r"program_(-?\d+)(_full_eval)?\.json")
_SLUG = re.compile(r"[^a-z0-9_.-]+")


class Attributes(msgspec.Struct):
    """``attrs.json``: attributes of the returned program, and what its owner adds about the run."""

    optimizer: str | None = None
    run_name: str | None = None
    project: ProjectId | None = None
    task: str | None = None
    dataset_hash: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    tags: list[str] = []
    score: float | None = None


_RESULTS = frozenset(
    {"score", "total_calls", "prompt_model_total_calls", "_compiled", "wall_seconds", "dspy", "optuna", *_MEASURED}
)
_OF_RUN = frozenset(Attributes.__struct_fields__) - {"optimizer", "score"}


def read_folder(document: Document) -> Iterator[Record]:
    """The run of an exported folder or of a log_dir. Raises Unreadable."""
    folder = document.path
    bad: list[BadLine] = []
    exports = {name: load(path, folder) for name in _MEASURED if (path := folder / f"{name}.json").is_file()}
    attributes, given = _attributes(folder, bad)
    logs = logs_of(folder)
    final = _final_program(folder, bad)
    course = _course(folder, exports, attributes, logs, final, bad)
    is_export = bool(exports) or given is not None
    if not is_export and len(course.evaluations) < 2:
        return  # a run that has only begun is not told from others yet
    config = {name: value for name, value in (given or {}).items() if name not in _RESULTS | _OF_RUN}
    program = final or course.best
    run = Run(
        key=_key(folder, exports, given, final, course),
        project=attributes.project,
        name=attributes.run_name or folder.name or course.optimizer_type,
        optimizer_type=course.optimizer_type,
        status="completed" if is_export else "running",
        config={"optimizer": course.optimizer_type} | _model_of(program) | config,
        task=attributes.task,
        dataset_hash=attributes.dataset_hash,
        start_time=attributes.start_time and in_utc(attributes.start_time),
        end_time=attributes.end_time and in_utc(attributes.end_time),
        score_scale=course.scale,
        evaluation_kind=course.final_kind,
        initial_score_raw=course.initial,
        final_score_raw=course.final,
        samples_evaluated=course.total_calls,
        best_program=course.best.state if course.best else None,
        final_program=program.state if program else None,
        program_hash=program.hash if program else None,
        metadata={name: value for name, value in (given or {}).items() if name in _RESULTS}
        | course.metadata
        | ({"dependency_versions": program.versions} if program and program.versions else {})
        | ({"left_out": pickles} if (pickles := left_out(folder)) else {}),
        tags=attributes.tags,
    )
    yield run
    yield from bad
    yield from course.bad
    yield from _evaluations(run.key, course)


def read_program(document: Document) -> Iterator[Record]:
    """A saved program without its run: no score is in the file. Raises Unreadable."""
    program = program_of(load(document.path))
    if program is None:
        raise Unreadable("it has no predictor of a DSPy program in it; save it again with program.save.")
    yield Run(
        key=f"program:{program.hash}",
        name=shown_name(document.path.stem),
        optimizer_type="unknown",
        status="completed",
        config=_model_of(program),
        final_program=program.state,
        program_hash=program.hash,
        metadata={"dependency_versions": program.versions} if program.versions else {},
    )


def _attributes(folder: Path, bad: list[BadLine]) -> tuple[Attributes, dict[str, Any] | None]:
    path = folder / "attrs.json"
    if not path.is_file():
        return Attributes(), None
    given = load(path, folder)
    if not isinstance(given, dict):
        raise Unreadable("attrs.json does not hold an object; write it again.")
    try:
        return msgspec.convert(given, Attributes), given
    except msgspec.ValidationError as error:
        bad.append(bad_part("attrs.json", str(error), given))
        return Attributes(), {}


def _course(
    folder: Path,
    exports: dict[str, Any],
    attributes: Attributes,
    logs: Sequence[Path],
    final: Program | None,
    bad: list[BadLine],
) -> Course:
    """What the files say, by the optimizer that their shapes tell."""
    trials = exports.get("trial_logs")
    if trials is not None and not isinstance(trials, dict):
        raise Unreadable("trial_logs.json does not hold an object by trial; write it again.")
    ranked = read_candidates(exports.get("candidate_programs"), "candidate_programs.json", bad)
    ranked += read_candidates(exports.get("mb_candidate_programs"), "mb_candidate_programs.json", bad)
    named = _SLUG.sub("_", (attributes.optimizer or "").lower()).strip("_.-")
    saved = _saved_programs(folder, logs, bad)
    is_gepa = any((log / "run_log.json").is_file() or (log / "candidates.json").is_file() for log in logs)
    if "detailed_results" in exports or (is_gepa and not trials):
        return gepa.read(folder, logs, final)
    if trials and any(isinstance(trial, dict) and "train_score" in trial for trial in trials.values()):
        return read_simba(trials, ranked)
    if trials:
        return read_miprov2(trials, saved, attributes.score)
    if ranked:
        return _of_candidates(ranked, named, folder)
    if saved:
        return Course(
            "miprov2",
            [
                Evaluation(number, kind, program=program, candidate_key=program.hash[:16])
                for number, (kind, program) in _in_order(saved)
            ],
            is_percent=True,
        )
    return Course(named or "unknown", [], is_percent=True, final=attributes.score)


def _of_candidates(ranked: Sequence[Candidate], named: str, folder: Path) -> Course:
    first = ranked[0]
    if first.seed is not None or first.subscores is not None:
        return read_random_search(ranked)
    if first.instruction is not None:
        names = ("results_best", "results_latest")
        paths = {name: folder / f"{name}.json" for name in names}
        return read_copro(ranked, {name: load(path, folder) for name, path in paths.items() if path.is_file()})
    if first.full_eval is not None:
        return read_others("miprov2", ranked, is_percent=True)
    return read_others(named or "custom", ranked, is_percent=named != "simba")


def _in_order(saved: dict[tuple[int, EvaluationKind], Program]) -> list[tuple[int, tuple[EvaluationKind, Program]]]:
    """Programs of a log_dir by trial, the one as given (its number is 1 in the trial log too) first."""
    return [(number, (kind, program)) for (number, kind), program in sorted(saved.items(), key=lambda item: item[0])]


def _saved_programs(
    folder: Path, logs: Sequence[Path], bad: list[BadLine]
) -> dict[tuple[int, EvaluationKind], Program]:
    """What MIPROv2 saved while it ran, by trial; the program as given is its trial 1."""
    found: dict[tuple[int, EvaluationKind], Program] = {}
    for path in (path for log in logs for path in sorted((log / PROGRAMS).glob("program_*.json"))):
        name = _TRIAL_PROGRAM.fullmatch(path.name)
        program = _lenient_program(path, folder, bad) if name else None
        if name and program:
            number = int(name[1])
            kind: EvaluationKind = "full" if name[2] or number < 0 else "minibatch"
            found[(1 if number < 0 else number, kind)] = program
    return found


def _final_program(folder: Path, bad: list[BadLine]) -> Program | None:
    path = folder / "program.json"
    return _lenient_program(path, folder, bad) if path.is_file() else None


def _lenient_program(path: Path, folder: Path, bad: list[BadLine]) -> Program | None:
    """The program of a file without which the run can still be told."""
    name = shown_name(path.relative_to(folder).as_posix())
    try:
        value = load(path, folder)
    except Unreadable as error:
        bad.append(BadLine(0, 0, 0, "malformed_json", f"A program is left out: {error}", name.encode()))
        return None
    program = program_of(value)
    if program is None:
        bad.append(bad_part(name, "it has no predictor of a DSPy program in it", value))
    return program


def _key(
    folder: Path, exports: dict[str, Any], given: dict[str, Any] | None, final: Program | None, course: Course
) -> str:
    """Hash of all that was measured; of a log_dir that may still grow, of how the run began."""
    if exports:
        return f"{course.optimizer_type}:{content_hash(exports)}"
    if given is not None:
        return f"{course.optimizer_type}:{content_hash([given, final.hash if final else None])}"
    beginning = [
        evaluation.program.hash if evaluation.program else evaluation.instructions
        for evaluation in course.evaluations[:2]
    ]
    return f"{course.optimizer_type}:log:{content_hash(beginning)}"


def _model_of(program: Program | None) -> dict[str, Any]:
    return {"model_config": {"model": program.model}} if program and program.model else {}


def _evaluations(run_key: str, course: Course) -> Iterator[Record]:
    for evaluation in course.evaluations:
        values = [score.value for score in evaluation.scores]
        is_pass_or_fail = bool(values) and all(value in (0.0, 1.0) for value in values)
        scale = fitting(UNIT, values)
        program = evaluation.program
        yield Iteration(
            run_key=run_key,
            iteration=evaluation.number,
            evaluation_kind=evaluation.kind,
            score_raw=evaluation.score,
            candidate_key=evaluation.candidate_key,
            parent_iterations=list(evaluation.parents),
            program_hash=program.hash if program else None,
            params=evaluation.params,
            program=program.state if program else evaluation.instructions,
            samples_in_iteration=evaluation.calls,
            successful_samples=sum(value == 1.0 for value in values) if is_pass_or_fail else None,
            metric_calls_so_far=evaluation.calls_so_far,
            metadata=evaluation.metadata,
        )
        for score in evaluation.scores:
            yield Sample(
                run_key=run_key,
                iteration=evaluation.number,
                sample_index=score.index,
                sample_key=str(score.index),
                predicted_output=score.output,
                score_raw=None if score.value is None else float(score.value),
                score_scale=scale,
                is_correct=score.value == 1.0 if is_pass_or_fail else None,
                program_hash=program.hash if program else None,
            )
