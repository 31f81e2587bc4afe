"""What DSPy's autologging puts beside its runs in MLflow: tables of samples, data sets and programs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pipelines.sources.outputs import UNBOUNDED, UNIT, Sample, content_hash
from pipelines.sources.records import BadLine

MAX_BYTES = 512 << 20
_SAMPLE_BYTES = 256

Read = TypeVar("Read")
Program = dict[str, Any]


class Table(msgspec.Struct):
    """What ``mlflow.log_table`` writes."""

    columns: list[str]
    data: list[list[Any]]

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a row. Raises ValueError where a row has not one value for each column."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.data]


@dataclass(frozen=True)
class Examples:
    """Examples that a run was measured on."""

    fields: list[dict[str, Any]]

    @property
    def hash(self) -> str:
        """The same for the same examples in any order, and whichever table they stand in."""
        return content_hash(sorted(content_hash(example) for example in self.fields))


class Artifacts:
    """The artifacts of one run; a file that cannot be understood is noted in ``damaged`` and counts as absent."""

    def __init__(self, run_name: str, folder: Path | None) -> None:
        self.damaged: list[BadLine] = []
        self._run_name = run_name
        self._folder = folder

    def program(self, name: str) -> Program | None:
        """State of each predictor by its path, without what only says how it was saved."""
        found = self._read(name, msgspec.json.Decoder(dict[str, Any]).decode)
        return None if found is None else {part: state for part, state in found.items() if part != "metadata"}

    def examples(self, name: str) -> Examples | None:
        """A data set."""
        rows = self._read(name, _rows)
        return None if rows is None else Examples(rows)

    def samples(self, run_key: str, iteration: int, program_hash: str | None) -> list[Sample]:
        """Rows of the result table."""
        return list(_samples(self._read("result_table.json", _rows) or [], run_key, iteration, program_hash))

    def _read(self, name: str, decode: Callable[[bytes], Read]) -> Read | None:
        if self._folder is None or not (path := self._folder / name).is_file():
            return None
        content = b""
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
            return decode(content)
        except (OSError, ValueError, RecursionError) as error:
            detail = f"{name} of run {self._run_name!r} is not what MLflow logs ({error}); copy the artifact again."
            sample = content[:_SAMPLE_BYTES]
            self.damaged.append(BadLine(0, 0, len(content), "unexpected_shape", detail, sample))
            return None


def tested(samples: list[Sample]) -> Examples | None:
    """The examples that samples are of."""
    return Examples([sample.input | sample.expected_output for sample in samples]) if samples else None


def _rows(content: bytes) -> list[dict[str, Any]]:
    return msgspec.json.decode(content, type=Table).rows()


def _samples(rows: list[dict[str, Any]], run_key: str, iteration: int, program_hash: str | None) -> Iterator[Sample]:
    scores = [_score(row.get("score")) for row in rows]
    is_yes_or_no = all(score in (0, 1, None) for score in scores)
    is_unit = all(score is None or 0 <= score <= 1 for score in scores)
    for number, (row, score) in enumerate(zip(rows, scores, strict=True)):
        example = {name.removeprefix("example_"): row[name] for name in row if name.startswith("example_")}
        predicted = {name.removeprefix("pred_"): row[name] for name in row if name.startswith("pred_")}
        # DSPy does not say which fields are given and which are asked for; those that are predicted are asked for.
        expected = {name: value for name, value in example.items() if name in predicted}
        yield Sample(
            run_key=run_key,
            iteration=iteration,
            sample_index=number,
            sample_key=content_hash(example)[:32],
            input={name: value for name, value in example.items() if name not in expected},
            predicted_output=predicted,
            expected_output=expected,
            score_raw=score,
            score_scale=UNIT if is_unit else UNBOUNDED,
            is_correct=score == 1 if is_yes_or_no and score is not None else None,
            program_hash=program_hash,
            metadata={"judgement": row["score"]} if isinstance(row.get("score"), dict) else {},
        )


def _score(value: Any) -> float | None:
    """A number, or that of a judgement like ``{"score": 0.0, "feedback": "should be billing"}``."""
    if isinstance(value, dict):
        value = value.get("score")
    return float(value) if isinstance(value, int | float) else None
