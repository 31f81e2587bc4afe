"""Writes all that the demo shows: logs of coding agents, runs of optimizers and evaluations, and counts what they hold.

Formats that take an extra to read are written for one project, where the extra is installed.

    FOLDER/projects, FOLDER/runs              coding agents
    FOLDER/optimizations|optuna|mlflow/<project>/…
    FOLDER/agents|inspect|promptfoo/<project>/…
"""

from collections import Counter
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipelines.samples import agent_evaluations, inspect_logs, mlflow_stores, optimizations, optuna_studies, promptfoo
from pipelines.samples.generator import DEFAULT_BYTES, PROJECT_NAMES, generate
from pipelines.samples.optimizations import RunTruth
from pipelines.samples.truth import SampleTruth

EXTRAS = {"inspect": "inspect_ai", "mlflow": "mlflow", "optuna": "optuna"}
"""Extra of the distribution → the package that it brings."""

_MAIN_PROJECT = PROJECT_NAMES[0]


@dataclass
class EvaluationCounts:
    """Evaluations of one project."""

    simulations: int = 0
    running: int = 0
    """Of these."""
    outcomes: int = 0
    judged: int = 0
    """Outcomes with a verdict."""
    passed: int = 0


@dataclass
class DemoTruth:
    """Ground truth of one demo."""

    logs: SampleTruth
    runs: list[RunTruth] = field(default_factory=list)
    evaluations: dict[str, EvaluationCounts] = field(default_factory=dict)
    """By project."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Failures of the nightly evaluation, by category and template."""
    left_out: tuple[str, ...] = ()
    """Extras that are not installed."""

    @property
    def simulations(self) -> int:
        """Simulations of all projects."""
        return sum(counts.simulations for counts in self.evaluations.values())


def write(folder: Path, *, size_bytes: int = DEFAULT_BYTES) -> DemoTruth:
    """Writes about ``size_bytes`` of logs, and the rest in its own few megabytes. The same every time."""
    truth = DemoTruth(
        generate(folder, size_bytes=size_bytes),
        evaluations={project: EvaluationCounts() for project in PROJECT_NAMES},
        left_out=tuple(extra for extra, package in EXTRAS.items() if find_spec(package) is None),
    )
    truth.runs += optimizations.write(folder / "optimizations").runs
    if "optuna" not in truth.left_out:
        truth.runs += optuna_studies.write(folder / "optuna", projects=[_MAIN_PROJECT]).runs
    if "mlflow" not in truth.left_out:
        truth.runs += mlflow_stores.write(folder / "mlflow", projects=[_MAIN_PROJECT]).runs
    _write_agents(folder / "agents" / _MAIN_PROJECT, truth)
    if "inspect" not in truth.left_out:
        _write_inspect(folder / "inspect", truth, _MAIN_PROJECT)
    for number, project in enumerate(PROJECT_NAMES):
        _write_promptfoo(folder / "promptfoo", truth, project, seed=number)
    return truth


def _write_agents(folder: Path, truth: DemoTruth) -> None:
    written, counts = agent_evaluations.write(folder), truth.evaluations[folder.name]
    counts.simulations += written.simulations
    counts.running += written.running
    counts.outcomes += written.outcomes
    counts.judged += written.judged
    counts.passed += written.passed
    truth.failures += written.failures


def _write_inspect(folder: Path, truth: DemoTruth, project: str) -> None:
    written, counts = inspect_logs.write(folder, projects=[project]), truth.evaluations[project]
    counts.simulations += written.simulations.total()
    counts.running += written.simulations["running"]
    counts.outcomes += written.outcomes.total()
    counts.judged += written.judged
    counts.passed += written.passed


def _write_promptfoo(folder: Path, truth: DemoTruth, project: str, *, seed: int) -> None:
    written, counts = promptfoo.write(folder, seed=seed, projects=[project]), truth.evaluations[project]
    counts.simulations += written.simulations
    counts.outcomes += written.verdicts.total()
    counts.judged += written.verdicts["successes"] + written.verdicts["failures"]
    counts.passed += written.verdicts["successes"]
