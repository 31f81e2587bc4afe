"""Which files DSPy's are, told by what they hold, and which of them make one run.

    <run>/attrs.json, trial_logs.json, candidate_programs.json, …      the export of docs/formats/dspy.md
    <run>/program.json                                                  program.save
    <run>/<log_dir>/evaluated_programs/program_<trial>[_full_eval].json MIPROv2
    <run>/<log_dir>/run_log.json, candidates.json, …                    GEPA

A ``log_dir`` without an export beside it is a run of its own, of which only the course is known.
"""

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipelines.sources.outputs import Unreadable, shown_name
from pipelines.sources.records import BadLine

Kind = Literal["export", "log", "program", "evaluation", "score", "pickle"]

HEAD_BYTES = 256 << 10
MAX_DOCUMENT_BYTES = 512 << 20
PROGRAMS = "evaluated_programs"
OUTPUTS = "generated_best_outputs_valset"
csv.field_size_limit(MAX_DOCUMENT_BYTES)  # a passage that was asked about may be longer than Python takes by itself

_EXPORTS = {
    "attrs.json": re.compile(rb'\s*\{(?=.*"_compiled"|.*"optimizer".*"dspy"|.*"dspy".*"optimizer")', re.DOTALL),
    "trial_logs.json": re.compile(rb'\s*\{\s*"-?\d+"\s*:\s*\{'),
    "candidate_programs.json": re.compile(rb'\s*\[\s*(\]|\{\s*"(score|program)"\s*:)'),
    "mb_candidate_programs.json": re.compile(rb'\s*\[\s*(\]|\{\s*"(score|program)"\s*:)'),
    "detailed_results.json": re.compile(rb'\s*\{(\s*"candidates"\s*:\s*\[|(?=.*"val_aggregate_scores"))', re.DOTALL),
    "results_best.json": re.compile(rb'\s*\{\s*"\d+"\s*:\s*\{\s*"depth"'),
    "results_latest.json": re.compile(rb'\s*\{\s*"\d+"\s*:\s*\{\s*"depth"'),
}
_RUN_LOG = re.compile(rb'\s*\[\s*(\]|\{\s*"i"\s*:)')
_CANDIDATES = re.compile(rb'\s*\[\s*\{\s*"[^"]+"\s*:\s*"')
_PROGRAM = re.compile(rb'\s*\{\s*"[^"]+"\s*:\s*\{\s*"(traces|train|demos|lm)"\s*:')
_SCORE = re.compile(rb'\s*\{\s*"score"\s*:\s*-?[\d.eE+-]+\s*\}\s*')
_OUTPUT_NAME = re.compile(r"iter_\d+_prog_\d+\.json")
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_PICKLE_SUFFIXES = {".pkl", ".pickle", ".bin"}
_MLFLOW_RUN = re.compile(r"[0-9a-f]{32}")
_SAMPLE_BYTES = 256


def kind_of(path: Path, head: bytes) -> Kind | None:
    """What the file is, by its first bytes and, where these say too little, its name and neighbours."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    if path.suffix in _PICKLE_SUFFIXES:
        return "pickle" if _PICKLE.match(head) and not _is_of_a_run(path.parent) else None
    if path.suffix not in (".json", ".csv") or _is_of_mlflow(path):
        return None
    if path.suffix == ".csv":
        return "evaluation" if evaluation_table(head.decode(errors="replace")) else None
    if (export := _EXPORTS.get(path.name)) is not None and export.match(head):
        return "export"
    if path.name == "run_log.json":
        return "log" if _RUN_LOG.match(head) else None
    if path.name == "candidates.json":
        return "log" if _CANDIDATES.match(head) and _is_gepa_log(path.parent) else None
    if _OUTPUT_NAME.fullmatch(path.name):
        return "log" if len(path.parts) > 3 and path.parts[-3] == OUTPUTS else None
    if _is_program(head):
        return "log" if path.parent.name == PROGRAMS else "program"
    if path.name == "score.json" and _SCORE.fullmatch(head):
        return "score" if any((path.parent / name).is_file() for name in ("result.json", "result.csv")) else None
    return "evaluation" if _is_evaluation(head) else None


def root_of(path: Path) -> Path:
    """The run's folder, or the file itself where it stands alone."""
    head = head_of(path)
    match kind_of(path, head):
        case "log":
            return _root_of_log(_log_of(path))
        case "export":
            return path.parent
        case "program" if path.name == "program.json" and is_export(path.parent):
            return path.parent
        case "score" | "evaluation" if (path.stem, path.suffix) != ("result", ".json"):
            return _evaluation_beside(path)
        case _:
            return path


def is_export(folder: Path) -> bool:
    """Whether the folder holds a file that the export writes."""
    return any(pattern.match(head_of(folder / name)) for name, pattern in _EXPORTS.items())


def logs_of(folder: Path) -> list[Path]:
    """``log_dir`` trees of the run: the folder itself or those directly in it."""
    return [log for log in (folder, *sorted(folder.iterdir())) if log.is_dir() and _is_log(log)]


def left_out(folder: Path) -> list[str]:
    """Pickles under the folder, which nobody opens."""
    return sorted(
        shown_name(path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.suffix in _PICKLE_SUFFIXES and path.is_file() and _PICKLE.match(head_of(path, 2))
    )


def head_of(path: Path, size: int = HEAD_BYTES) -> bytes:
    """First bytes of the file, nothing where there is none to read."""
    try:
        with path.open("rb") as stream:
            return stream.read(size).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return b""


def load(path: Path, folder: Path | None = None) -> Any:
    """The JSON of a file; numbers that JSON does not have (NaN) are None. Raises Unreadable."""
    name = shown_name(path.relative_to(folder).as_posix()) if folder else "it"
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise Unreadable(f"{name} has more than {MAX_DOCUMENT_BYTES >> 20} MB, the most that is read; split it.")
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise Unreadable(f"{name} cannot be read: {error.strerror}; check its permissions.") from error
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = json.loads(content, parse_constant=_none, parse_float=_finite)
        msgspec.json.encode(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"{name} is not whole JSON ({error}); write it again.") from error
    return value


def bad_part(where: str, problem: str, value: Any) -> BadLine:
    """A part of a document that is left out while the rest is loaded."""
    content = json.dumps(value, ensure_ascii=False, default=str).encode(errors="surrogatepass")
    return BadLine(0, 0, len(content), "unexpected_shape", f"{where} is left out: {problem}.", content[:_SAMPLE_BYTES])


def evaluation_table(text: str) -> list[str] | None:
    """Names of the columns of ``Evaluate(save_as_csv=…)``; None where it is another table."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""))
        names, first = next(rows), next(rows)
    except (StopIteration, csv.Error):
        return None
    return names if len(first) == len(names) and _is_scored(dict(zip(names, first, strict=True))) else None


def number(value: Any) -> float | None:
    """A score as a number; None where it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return {"true": 1.0, "false": 0.0}.get(str(value).strip().lower())
    return found if math.isfinite(found) else None


def _none(_: str) -> None:
    return None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _is_program(head: bytes) -> bool:
    try:
        state = msgspec.json.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bool(_PROGRAM.match(head)) and b'"demos"' in head and b'"traces"' in head
    return isinstance(state, dict) and any(
        isinstance(part, dict) and "demos" in part and "traces" in part for part in state.values()
    )


def _is_evaluation(head: bytes) -> bool:
    start = re.match(rb"\s*\[\s*(?=\{)", head)
    if not start:
        return False
    try:
        first, _ = json.JSONDecoder().raw_decode(head[start.end() :].decode(errors="replace"))
    except (ValueError, RecursionError):
        return False
    return _is_scored(first)


def _is_scored(row: dict[str, Any]) -> bool:
    """An example and the prediction for it, told by a field that both have, and the metric's number at the end."""
    clashes = {name.removeprefix("example_") for name in row if name.startswith("example_")}
    return any(f"pred_{name}" in row for name in clashes) and number(list(row.values())[-1]) is not None


def _is_of_mlflow(path: Path) -> bool:
    """Artifacts of an MLflow store belong to the run that the store knows."""
    return any(
        parent.name == "artifacts" and _MLFLOW_RUN.fullmatch(parent.parent.name) is not None for parent in path.parents
    )


def _is_gepa_log(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("run_log.json", "gepa_state.bin", OUTPUTS))


def _is_log(folder: Path) -> bool:
    return (folder / PROGRAMS).is_dir() or _is_gepa_log(folder)


def _is_of_a_run(folder: Path) -> bool:
    return is_export(folder) or (_is_log(folder) and any(folder.glob("*.json"))) or is_export(folder.parent)


def _log_of(path: Path) -> Path:
    if path.parent.name == PROGRAMS:
        return path.parent.parent
    return path.parents[2] if _OUTPUT_NAME.fullmatch(path.name) else path.parent


def _root_of_log(log: Path) -> Path:
    return log.parent if is_export(log.parent) else log


def _evaluation_beside(path: Path) -> Path:
    """The one file that stands for an evaluation saved in several forms."""
    names = [f"{path.stem}.json"] if path.suffix == ".csv" else ["result.json", "result.csv"]
    beside = [path.with_name(name) for name in names if path.stem == "score" or path.suffix == ".csv"]
    return next((file for file in beside if kind_of(file, head_of(file)) == "evaluation"), path)
