"""``Evaluate(save_as_json=…, save_as_csv=…)``: one program measured on one set of examples, as a run of one iteration.

A row holds the example's fields, the prediction's, and last the metric's number under the metric's name. A field that
both have is ``example_x`` and ``pred_x``; what stands before the last ``example_x`` is taken for the example's.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any

from pipelines.sources.documents import Document
from pipelines.sources.outputs import (
    PERCENT,
    UNIT,
    Iteration,
    Record,
    Run,
    Sample,
    Unreadable,
    content_hash,
    shown_name,
)

from .course import fitting
from .layout import MAX_DOCUMENT_BYTES, bad_part, load, number

_PATCHED = "_patched"
"""Name that MLflow's autologging gives the metric."""


def read(document: Document) -> Iterator[Record]:
    """The evaluation as run, iteration and samples. Raises Unreadable."""
    path = document.path
    rows = _table(document) if path.suffix == ".csv" else load(path)
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        raise Unreadable("it does not hold the rows of an evaluation; write it again.")
    metric = list(rows[0])[-1]
    named = {} if metric == _PATCHED else {"metric": metric}
    problems = [_problem(row, metric) for row in rows]
    good = [(index, row) for index, row in enumerate(rows) if problems[index] is None]
    scores = [number(row[metric]) for _, row in good]
    key = f"evaluate:{content_hash([[index, _as_text(row)] for index, row in good])}"
    average = _average(document, scores)
    scale = fitting(PERCENT, [average])
    is_pass_or_fail = all(score in (0.0, 1.0) for score in scores)
    correct = sum(score == 1.0 for score in scores) if is_pass_or_fail else None
    yield Run(
        key=key,
        name=shown_name(path.parent.name if path.stem == "result" else path.stem),
        optimizer_type="evaluate",
        status="completed",
        config={"optimizer": "evaluate"} | named,
        score_scale=scale,
        final_score_raw=average,
        samples_evaluated=len(good),
        successful_samples=correct,
    )
    yield Iteration(
        run_key=key,
        iteration=0,
        score_raw=average,
        samples_in_iteration=len(good),
        successful_samples=correct,
    )
    sample_scale = fitting(UNIT, scores)
    for (index, row), score in zip(good, scores, strict=True):
        given, predicted, expected = _parts(row, metric)
        yield Sample(
            run_key=key,
            iteration=0,
            sample_index=index,
            sample_key=f"{content_hash(given)[:16]}",
            input=given,
            predicted_output=predicted,
            expected_output=expected,
            score_raw=score,
            score_scale=sample_scale,
            is_correct=score == 1.0 if is_pass_or_fail else None,
        )
    for index, problem in enumerate(problems):
        if problem is not None:
            yield bad_part(f"row {index + 1}", problem, rows[index])


def _problem(row: Any, metric: str) -> str | None:
    """Why a row is none of the evaluation's; None where it is one."""
    if not isinstance(row, dict) or metric not in row:
        return f"it has no {metric}"
    # What the table has no column for is put under None.
    return "it has more values than the table has columns" if None in row else None


def _table(document: Document) -> list[dict[str, Any]]:
    try:
        if document.path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise Unreadable(f"it has more than {MAX_DOCUMENT_BYTES >> 20} MB, the most that is read; split it.")
        text = document.path.read_text("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"it cannot be read as a table ({error}); write it again.") from error


def _as_text(row: dict[str, Any]) -> dict[str, str]:
    """The row as a table of texts has it, so that both forms of one evaluation are the same run."""
    return {name: str(value) for name, value in row.items()}


def _average(document: Document, scores: list[float | None]) -> float | None:
    """The score in percent, as saved beside the rows, else as DSPy reckons it."""
    beside = document.path.with_name("score.json")
    if document.path.stem == "result" and beside.is_file():
        saved = load(beside, document.path.parent)
        if isinstance(saved, dict) and (score := number(saved.get("score"))) is not None:
            return score
    known = [score for score in scores if score is not None]
    return round(100 * sum(known) / len(scores), 2) if known else None


def _parts(row: dict[str, Any], metric: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Input, prediction and expected answer of a row."""
    names = [name for name in row if name != metric]
    last = max((place for place, name in enumerate(names) if _is_label(name, row)), default=-1)
    given = {name: row[name] for name in names[: last + 1] if not _is_label(name, row)}
    expected = {name.removeprefix("example_"): row[name] for name in names[: last + 1] if _is_label(name, row)}
    predicted = {name.removeprefix("pred_"): row[name] for name in names[last + 1 :]}
    return given, predicted, expected


def _is_label(name: str, row: dict[str, Any]) -> bool:
    return name.startswith("example_") and f"pred_{name.removeprefix('example_')}" in row
