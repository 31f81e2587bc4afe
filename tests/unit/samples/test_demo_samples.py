"""The demo's samples: the same every time, rich enough for every comparison, and fewer where a reader is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.samples import demo, optimizations
from pipelines.samples.demo import DemoTruth, EvaluationCounts
from pipelines.samples.optimizations import RunTruth


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> DemoTruth:
    return demo.write(tmp_path_factory.mktemp("demo"), size_bytes=100_000)


def contents(folder: Path) -> Iterator[tuple[Path, bytes, float]]:
    """All files but Optuna's, which SQLite lays out as it likes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".db":
            yield path.relative_to(folder), path.read_bytes(), path.stat().st_mtime


def test_the_same_files_are_written_every_time(truth: DemoTruth, tmp_path: Path) -> None:
    again = demo.write(tmp_path, size_bytes=100_000)
    assert (again.runs, again.evaluations, again.failures) == (truth.runs, truth.evaluations, truth.failures)
    assert list(contents(tmp_path)) == list(contents(truth.logs.folder))


def test_every_project_has_all_three_kinds_of_work(truth: DemoTruth) -> None:
    assert {run.project for run in truth.runs} == set(truth.evaluations) == set(truth.logs.projects)
    assert all(counts.outcomes > counts.passed > 0 for counts in truth.evaluations.values())
    assert any(counts.running for counts in truth.evaluations.values())
    assert len({category for category, _ in truth.failures}) == 5


def test_several_optimizers_answer_the_same_examples(truth: DemoTruth) -> None:
    (examples,) = (task.examples for task in optimizations.TASKS if task.name == "crash-triage")
    answered = {
        run.optimizer_type
        for run in truth.runs
        if run.project == "mobile-app" and run.samples == examples * run.iterations > 0
    }
    assert answered >= {"gepa", "bootstrap", "bayesian", "grid_search", "genetic", "random_search"}


def test_formats_whose_reader_is_not_installed_are_left_out(
    truth: DemoTruth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "EXTRAS", dict.fromkeys(demo.EXTRAS, "a_package_that_nobody_has"))
    fewer = demo.write(tmp_path, size_bytes=100_000)
    assert set(fewer.left_out) == set(demo.EXTRAS)
    assert not any((tmp_path / extra).exists() for extra in demo.EXTRAS)
    assert fewer.evaluations["mobile-app"] == truth.evaluations["mobile-app"] != EvaluationCounts()
    assert fewer.evaluations["storefront"].running == 1
    assert fewer.runs == truth.runs[: len(fewer.runs)] != truth.runs


@pytest.mark.parametrize(
    ("scale", "final", "unfinished", "best"),
    [
        ((0.0, 100.0), 85.0, None, 0.85),
        ((0.0, 1.0), None, 0.7, 0.7),
        ((0.0, float("inf")), 0.3, None, None),
        ((0.0, 1.0), None, None, None),
    ],
)
def test_best_scores_are_told_on_one_scale(
    truth: DemoTruth, scale: tuple[float, float], final: float | None, unfinished: float | None, best: float | None
) -> None:
    first = truth.runs[0]
    run = RunTruth(
        "p", "n", "gepa", "completed", "t", "m", first.start_time, scale, None, final, 1, 1, 0, 0,
        unfinished_best=unfinished,
    )  # fmt: skip
    assert run.best == best
