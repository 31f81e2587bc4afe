"""Optuna studies, from a SQLite file or from any storage address that Optuna itself understands.

A study is a run and a trial an iteration. Optuna is asked through its own storage class, since what a table means
changes with its version; a file is read from a copy, which an older schema is upgraded in, and a server is only read.
What Optuna leaves open is settled so:

- a pruned trial keeps its last intermediate value as its value: it was never evaluated to the end, so it is unscored;
- a study with several objectives has no single score: its values are in ``metadata.values`` and nothing is best;
- DSPy's MIPROv2 puts minibatch and full evaluations into one study, unmarked. It adds full ones ready-made, so they
  begin and end at one instant. Where any but the first trial was added so, the others are minibatches;
- times have no zone and are taken as UTC.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.sources.documents import Document
from pipelines.sources.outputs import (
    PERCENT,
    UNBOUNDED,
    EvaluationKind,
    Iteration,
    Record,
    Run,
    RunStatus,
    Unreadable,
    content_hash,
)
from pipelines.sources.records import BadLine
from pipelines.sources.sqlite_files import database_of, holds_tables, snapshot

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study._frozen import FrozenStudy
    from optuna.trial import FrozenTrial

TABLES = frozenset({"studies", "study_directions", "trials", "trial_params", "version_info"})

_MIPRO_PARAMETER = re.compile(r"\d+_predictor_(instruction|demos)")
_SAMPLERS = (
    ("tpe:", "bayesian"),
    ("gp:", "bayesian"),
    ("grid_id", "grid_search"),
    ("cma", "genetic"),
    ("nsga", "genetic"),
)
"""What samplers write into the system attributes of trials, and what kind of optimizer each is."""


def matches(path: Path, head: bytes) -> bool:
    """Whether the file is a SQLite database with Optuna's tables, or lies beside one as a part of it."""
    return holds_tables(path, TABLES)


def root(path: Path) -> Path:
    """The database file."""
    return database_of(path)


def read(document: Document) -> Iterator[Record]:
    """Runs and iterations of every study in the file. Raises Unreadable."""
    with snapshot(document.path) as copy, _storage(f"sqlite:///{copy}", is_copy=True) as storage:
        yield from _records(storage)


def read_storage(url: str) -> Iterator[Record]:
    """The same from the storage at ``url``, like postgresql://user@host/database. Nothing is written to it.

    Raises Unreadable.
    """
    with _storage(url, is_copy=False) as storage:
        yield from _records(storage)


@contextmanager
def _storage(url: str, *, is_copy: bool) -> Iterator["RDBStorage"]:
    try:
        import optuna
        import sqlalchemy
    except ImportError as error:
        raise Unreadable(
            "It holds Optuna studies; pip install 'tracemill[optuna]' lets tracemill read them."
        ) from error
    try:
        engine = sqlalchemy.create_engine(url)
        if not set(sqlalchemy.inspect(engine).get_table_names()) >= {*TABLES, "alembic_version"}:
            raise Unreadable("It holds no Optuna studies; give the storage address that optuna.create_study was given.")
        engine.dispose()
        storage = optuna.storages.RDBStorage(url, skip_compatibility_check=True, skip_table_creation=True)
        try:
            _settle_version(storage, is_copy=is_copy)
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except ImportError as error:
        raise Unreadable(
            f"Its database needs a driver that is not installed ({error}); install it with pip."
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise Unreadable(
            f"The Optuna storage cannot be read: {reason}; check its address and that it is whole."
        ) from error


def _settle_version(storage: "RDBStorage", *, is_copy: bool) -> None:
    current, head = storage.get_current_version(), storage.get_head_version()
    if current == head:
        return
    if current not in storage.get_all_versions():
        raise Unreadable(
            f"Its schema {current} comes from an Optuna newer than the one installed; pip install -U optuna."
        )
    if not is_copy:
        raise Unreadable(
            f"Its schema {current} is older than the installed Optuna reads ({head}); "
            "run optuna storage upgrade --storage with its address."
        )
    storage.upgrade()


def _records(storage: "RDBStorage") -> Iterator[Record]:
    try:
        studies = storage.get_all_studies()
    except _DAMAGED as error:
        raise Unreadable(f"Optuna cannot read its own studies ({error}); mend them or copy the file again.") from error
    for study in studies:
        try:
            trials = storage.get_all_trials(study._study_id, deepcopy=False)
        except _DAMAGED:
            trials, damaged = _trials_one_by_one(storage, study)
            yield from damaged
        # A name is a study's own only within its storage; with the instant it began it is the same in every copy.
        if any(trial.datetime_start is not None for trial in trials):
            yield from _Study(study, trials).records()


_DAMAGED = (ValueError, LookupError, TypeError, AssertionError)
"""What Optuna raises over a row that it cannot have written itself."""


def _trials_one_by_one(storage: "RDBStorage", study: "FrozenStudy") -> tuple[list["FrozenTrial"], list[BadLine]]:
    """The trials that can be read, and a note on each that cannot."""
    trials: list[FrozenTrial] = []
    damaged: list[BadLine] = []
    number = 0
    while True:
        try:
            trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        except KeyError:
            return trials, damaged
        try:
            trials.append(storage.get_trial(trial_id))
        except _DAMAGED as error:
            detail = f"Trial {number} of study {study.study_name!r} cannot be read ({error}); mend it or delete it."
            damaged.append(BadLine(number, 0, 0, "unexpected_shape", detail, b""))
        number += 1


class _Study:
    """Turns one study into records."""

    def __init__(self, study: "FrozenStudy", trials: Sequence["FrozenTrial"]) -> None:
        self.study = study
        self.trials = sorted(trials, key=lambda trial: trial.number)
        self.is_mipro = all(_MIPRO_PARAMETER.fullmatch(name) for trial in trials for name in trial.params) and any(
            trial.params for trial in trials
        )
        self.has_minibatches = self.is_mipro and any(trial.number > 0 and _was_added(trial) for trial in trials)
        began = next(t.datetime_start for t in self.trials if t.datetime_start is not None)
        self.key = f"{study.study_name}@{began.isoformat()}"

    def records(self) -> Iterator[Record]:
        yield self._run()
        for trial in self.trials:
            yield self._iteration(trial)

    def _run(self) -> Run:
        study, states = self.study, Counter(trial.state.name for trial in self.trials)
        directions = [direction.name.lower() for direction in study.directions]
        names = study.system_attrs.get("study:metric_names")
        starts = [start for trial in self.trials if (start := _utc(trial.datetime_start))]
        ends = [end for trial in self.trials if (end := _utc(trial.datetime_complete))]
        status, began = _status(states), min(starts)
        best = self._best()
        config = {"directions": directions, **_plain(study.user_attrs)}
        if isinstance(names, list) and len(names) == 1:
            config.setdefault("metric", names[0])
        return Run(
            key=self.key,
            name=study.study_name,
            optimizer_type=self._optimizer(),
            status=status,
            config=config,
            search_space=self._search_space(),
            task=task if isinstance(task := study.user_attrs.get("task"), str) else None,
            start_time=began,
            end_time=max([*starts, *ends]) if status in ("completed", "failed") else None,
            score_scale=PERCENT if self.is_mipro and self._fits_percent() else UNBOUNDED,
            score_direction="minimize" if directions == ["minimize"] else "maximize",
            initial_score_raw=self._score(self.trials[0]) if self.is_mipro and self.trials[0].number == 0 else None,
            final_score_raw=self._score(best) if best else None,
            best_params=_plain(best.params) if best else None,
            metadata={
                "trials": dict(sorted(states.items())),
                **({"metric_names": names} if names else {}),
                **({"system_attrs": attrs} if (attrs := _plain(study.system_attrs)) else {}),
            },
            created_at=began,
        )

    def _iteration(self, trial: "FrozenTrial") -> Iteration:
        start, end = _utc(trial.datetime_start), _utc(trial.datetime_complete)
        metadata: dict[str, Any] = {
            "state": trial.state.name,
            "values": trial.values if len(self.study.directions) > 1 or trial.state.name == "PRUNED" else None,
            "intermediate_values": {str(step): value for step, value in trial.intermediate_values.items()},
            "user_attrs": trial.user_attrs,
            "system_attrs": trial.system_attrs,
        }
        return Iteration(
            run_key=self.key,
            iteration=trial.number,
            evaluation_kind=self._kind(trial),
            score_raw=self._score(trial),
            candidate_key=content_hash(_plain(trial.params))[:32] if trial.params else None,
            params=_plain(trial.params),
            iteration_start_time=start,
            # Local clocks go back an hour every autumn: an end before the start is no end.
            iteration_end_time=end if start is None or end is None or end >= start else None,
            metadata={key: value for key, value in _plain(metadata).items() if value},
        )

    def _kind(self, trial: "FrozenTrial") -> EvaluationKind:
        return "minibatch" if self.has_minibatches and not _was_added(trial) else "full"

    def _score(self, trial: "FrozenTrial") -> float | None:
        """Value of a trial that ran to its end; None for infinity, which no scale holds."""
        if trial.state.name != "COMPLETE" or len(self.study.directions) != 1 or not trial.values:
            return None
        return trial.values[0] if math.isfinite(trial.values[0]) else None

    def _best(self) -> "FrozenTrial | None":
        """Best of the full evaluations, the earliest of equals."""
        sign = -1 if self.study.directions[0].name == "MINIMIZE" else 1
        scored = [
            (sign * score, -trial.number, trial)
            for trial in self.trials
            if (score := self._score(trial)) is not None and self._kind(trial) == "full"
        ]
        return max(scored, key=lambda entry: entry[:2])[2] if scored else None

    def _fits_percent(self) -> bool:
        return all(0 <= score <= 100 for trial in self.trials if (score := self._score(trial)) is not None)

    def _optimizer(self) -> str:
        if self.is_mipro:
            return "miprov2"
        keys = [key for trial in self.trials for key in trial.system_attrs]
        return next((kind for start, kind in _SAMPLERS if any(key.startswith(start) for key in keys)), "optuna")

    def _search_space(self) -> dict[str, Any] | None:
        from optuna.distributions import distribution_to_json

        distributions = {name: found for trial in self.trials for name, found in trial.distributions.items()}
        # Optuna writes what JSON does not have: choices may be infinite.
        return {
            name: _plain(json.loads(distribution_to_json(found))) for name, found in sorted(distributions.items())
        } or None


def _was_added(trial: "FrozenTrial") -> bool:
    return trial.datetime_start is not None and trial.datetime_start == trial.datetime_complete


def _status(states: Mapping[str, int]) -> RunStatus:
    """A study does not say whether it is over: it is while no trial is open."""
    if states.get("RUNNING"):
        return "running"
    return "failed" if set(states) == {"FAIL"} else "completed"


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: numbers that are none as text, halves of surrogate pairs as U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
