"""Writes sample Optuna storages, through Optuna itself: a DSPy compile and a search with pruned and failed trials.

The same arguments give the same studies.

    FOLDER/<project>/optuna.db
"""

import os
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.samples.generator import LAST_DAY, PROJECT_NAMES
from pipelines.samples.optimizations import MODELS, TASKS, OptimizationTruth, RunTruth

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

_FULL_AFTER = 4
"""Minibatch trials between two full evaluations."""
_MINIBATCH = 10


def write(
    folder: Path,
    *,
    seed: int = 2026,
    days: int = 60,
    last_day: date = LAST_DAY,
    projects: Sequence[str] = PROJECT_NAMES,
) -> OptimizationTruth:
    """Writes one storage a project, of studies within the days up to ``last_day``; returns what they hold."""
    import optuna
    from sqlalchemy import event

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    truth = OptimizationTruth(folder)
    for number, project in enumerate(projects):
        rng = random.Random(f"{seed}:optuna:{project}")  # noqa: S311  # the same seed must give the same studies
        path = folder / project / "optuna.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        # Each trial is a transaction of its own; a sample need not survive a power cut.
        storage.engine.dispose()
        event.listen(storage.engine, "connect", lambda opened, _: opened.execute("pragma synchronous = off"))
        begin = datetime(last_day.year, last_day.month, last_day.day, 9) - timedelta(days=days - 10 - 3 * number)  # noqa: DTZ001
        truth.runs.append(_write_compile(rng, storage, project, number, begin))
        truth.runs.append(_write_search(rng, storage, project, number, begin + timedelta(days=days // 2)))
        storage.remove_session()
        storage.engine.dispose()
        os.utime(path, (begin.timestamp(), begin.timestamp()))
    return truth


class _Trials:
    """Adds trials to a study, one after the other."""

    def __init__(self, study: "Study", begin: datetime) -> None:
        self.study, self.clock = study, begin

    def add(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, "BaseDistribution"],
        value: float | None,
        *,
        seconds: int,
        state: str = "COMPLETE",
        **fields: Any,
    ) -> None:
        from optuna.trial import FrozenTrial, TrialState

        started, self.clock = self.clock, self.clock + timedelta(seconds=seconds)
        self.study.add_trial(
            FrozenTrial(
                number=-1, trial_id=-1, state=TrialState[state], value=value, datetime_start=started,
                datetime_complete=self.clock, params=dict(params), distributions=dict(distributions),
                user_attrs=fields.get("user_attrs", {}), system_attrs=fields.get("system_attrs", {}),
                intermediate_values=fields.get("intermediate_values", {}),
            )
        )  # fmt: skip
        self.clock += timedelta(seconds=5)


def _write_compile(rng: random.Random, storage: Any, project: str, number: int, begin: datetime) -> RunTruth:
    """A compile by MIPROv2: full evaluations are added ready-made, minibatches are asked for and told."""
    import optuna

    task, model = TASKS[number % len(TASKS)], rng.choice(MODELS)
    name = f"{task.name}-miprov2"
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_user_attr("model", model)
    study.set_user_attr("task", task.name)
    choices = optuna.distributions.CategoricalDistribution(range(4))
    distributions = {"0_predictor_instruction": choices, "0_predictor_demos": choices}
    trials = _Trials(study, begin)
    quality = {(first, second): rng.uniform(0.5, 0.9) for first in range(4) for second in range(4)}

    def evaluate(candidate: tuple[int, int], examples: int, seconds: int) -> float:
        score = round(100 * sum(rng.random() < quality[candidate] for _ in range(examples)) / examples, 2)
        trials.add(dict(zip(distributions, candidate, strict=True)), distributions, score, seconds=seconds)
        return score

    full = [evaluate((0, 0), task.examples, 0)]
    best: tuple[float, tuple[int, int]] = (-1.0, (0, 0))
    for trial in range(1, 3 * _FULL_AFTER + 1):
        candidate = (rng.randrange(4), rng.randrange(4))
        best = max(best, (evaluate(candidate, _MINIBATCH, rng.randint(20, 90)), candidate))
        if trial % _FULL_AFTER == 0:
            full.append(evaluate(best[1], task.examples, 0))
    return RunTruth(
        project, name, "miprov2", "completed", task.name, model, begin.replace(tzinfo=UTC),
        (0.0, 100.0), full[0], max(full), 3 * _FULL_AFTER + len(full), len(full), 0, 0,
    )  # fmt: skip


def _write_search(rng: random.Random, storage: Any, project: str, number: int, begin: datetime) -> RunTruth:
    """A search for the settings with the smallest loss; every fourth trial is pruned, one fails."""
    import optuna

    task, model = TASKS[number % len(TASKS)], rng.choice(MODELS)
    name = f"{task.name}-settings"
    study = optuna.create_study(
        storage=storage, study_name=name, direction="minimize", pruner=optuna.pruners.MedianPruner()
    )
    storage.set_study_system_attr(study._study_id, "study:metric_names", ["loss"])
    study.set_user_attr("model", model)
    study.set_user_attr("task", task.name)
    distributions: dict[str, BaseDistribution] = {
        "temperature": optuna.distributions.FloatDistribution(0.0, 1.0),
        "examples": optuna.distributions.IntDistribution(0, 8, step=2),
        "retriever": optuna.distributions.CategoricalDistribution(("bm25", "dense", None)),
    }
    trials, losses = _Trials(study, begin), []
    for trial in range(16):
        params = {
            "temperature": round(rng.random(), 3),
            "examples": rng.randrange(0, 9, 2),
            "retriever": rng.choice(("bm25", "dense", None)),
        }
        steps = {step: round(1.5 / (step + 1) + rng.random() / 4, 4) for step in range(4)}
        told: dict[str, Any] = {"system_attrs": {"tpe:relative_params:0": "{}"}}
        seconds = rng.randint(30, 120)
        if trial == 7:
            told["system_attrs"]["fail_reason"] = "APITimeoutError: the model did not answer in 60 s"
            trials.add(params, distributions, None, seconds=seconds, state="FAIL", **told)
        elif trial % 4 == 3:
            told["intermediate_values"] = {step: steps[step] for step in (0, 1)}
            trials.add(params, distributions, steps[1], seconds=seconds // 2, state="PRUNED", **told)
        else:
            losses.append(steps[3])
            trials.add(params, distributions, steps[3], seconds=seconds, intermediate_values=steps, **told)
    return RunTruth(
        project, name, "bayesian", "completed", task.name, model, begin.replace(tzinfo=UTC),
        (0.0, float("inf")), None, min(losses), 16, 16, 0, 0,
    )  # fmt: skip
