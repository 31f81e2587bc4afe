"""What DSPy's files say of a run: each optimizer's scale, lineage and layouts, and what damage to them costs."""

import json
import pickle
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.samples import optimizations
from pipelines.sources import dspy
from pipelines.sources.documents import Document
from pipelines.sources.outputs import PERCENT, UNBOUNDED, UNIT, Iteration, Record, Run, Sample, Unreadable
from pipelines.sources.records import BadLine

STATE = {"predict": {"traces": [], "train": [], "demos": [], "signature": {"instructions": "Go.", "fields": []}}}


def state(instructions: str) -> dict[str, Any]:
    return {"__module_state__": {"predict": STATE["predict"] | {"signature": {"instructions": instructions}}}}


def records(path: Path) -> list[Record]:
    return list(dspy.read(Document(path, datetime(2026, 10, 1, tzinfo=UTC))))


def of(kind: type, path: Path) -> list[Any]:
    return [record for record in records(path) if isinstance(record, kind)]


def export(folder: Path, **files: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> optimizations.OptimizationTruth:
    return optimizations.write(tmp_path_factory.mktemp("runs"))


def test_runs_of_all_optimizers_say_what_was_written(sample: optimizations.OptimizationTruth) -> None:
    compiled = [run for run in sample.runs if (sample.folder / run.project / run.name).is_dir()]
    assert {run.optimizer_type for run in compiled} == {"miprov2", "gepa", "bootstrap", "simba", "copro"}
    for truth in compiled:
        found = records(sample.folder / truth.project / truth.name)
        [run] = [record for record in found if isinstance(record, Run)]
        iterations = [record for record in found if isinstance(record, Iteration)]
        samples = [record for record in found if isinstance(record, Sample)]
        assert not [record for record in found if isinstance(record, BadLine)]
        assert (run.optimizer_type, run.score_scale) == (truth.optimizer_type, truth.scale), truth.name
        assert (run.initial_score_raw, run.final_score_raw) == (truth.initial, truth.final), truth.name
        assert (len(iterations), sum(i.evaluation_kind == "full" for i in iterations)) == (
            truth.iterations,
            truth.full_evaluations,
        ), truth.name
        assert (len(samples), sum(s.is_correct is True for s in samples)) == (truth.samples, truth.correct), truth.name
        assert (run.project, run.task, run.start_time) == (truth.project, truth.task, truth.start_time)
        # SIMBA's steps name no program: where two have the same score, neither is known.
        hashes = {i.program_hash for i in iterations}
        assert run.program_hash in hashes or (truth.optimizer_type == "simba" and None in hashes), truth.name


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        optimizations.write(tmp_path / name, projects=("storefront",))
    first, second = (
        {
            p.relative_to(tmp_path / name): (p.read_bytes(), p.stat().st_mtime)
            for p in (tmp_path / name).rglob("*.json*")
        }
        for name in ("first", "second")
    )
    assert first == second


def test_every_file_of_a_run_leads_to_its_folder(sample: optimizations.OptimizationTruth) -> None:
    for path in sample.folder.glob("*/*/**/*.json"):
        assert dspy.matches(path, path.read_bytes()), path
        assert dspy.root(path) == sample.folder / Path(*path.relative_to(sample.folder).parts[:2]), path


def test_a_minibatch_score_never_becomes_the_final_one(tmp_path: Path) -> None:
    logs = {
        "1": {"full_eval_score": 55.0, "full_eval_program": state("a"), "total_eval_calls_so_far": 20},
        "2": {"0_predictor_instruction": 1, "mb_score": 100.0, "mb_program": state("b"), "total_eval_calls_so_far": 28},
        "3": {"full_eval_score": 90.0, "full_eval_program": state("b"), "total_eval_calls_so_far": 48},
    }
    folder = export(tmp_path / "run", trial_logs=logs)
    [run] = of(Run, folder)
    assert (run.initial_score_raw, run.final_score_raw, run.evaluation_kind) == (55.0, 90.0, "full")
    iterations = of(Iteration, folder)
    assert [(i.iteration, i.evaluation_kind, i.score_raw, i.samples_in_iteration) for i in iterations] == [
        (1, "full", 55.0, 20),
        (2, "minibatch", 100.0, 8),
        (3, "full", 90.0, 20),
    ]
    assert iterations[1].candidate_key == iterations[2].candidate_key != iterations[0].candidate_key
    only_minibatches = export(tmp_path / "other", trial_logs={"2": logs["2"]})
    assert [(r.final_score_raw, r.evaluation_kind) for r in of(Run, only_minibatches)] == [(100.0, "minibatch")]


def test_a_trial_of_old_versions_may_hold_two_evaluations(tmp_path: Path) -> None:
    logs = {
        "0": {"0_predictor_instruction": 0, "score": 60.0, "full_eval": False, "program": state("a")},
        "1": {
            "0_predictor_instruction": 1, "mb_score": 80.0, "score": 70.0, "full_eval": True, "program": state("b"),
            "total_eval_calls_so_far": 70,
        },
    }  # fmt: skip
    found = of(Iteration, export(tmp_path, trial_logs=logs))
    assert [(i.iteration, i.evaluation_kind, i.score_raw, i.params) for i in found] == [
        (0, "minibatch", 60.0, {"0_predictor_instruction": 0}),
        (1, "minibatch", 80.0, {"0_predictor_instruction": 1}),
        (2, "full", 70.0, {}),
    ]
    assert [r.final_score_raw for r in of(Run, tmp_path)] == [70.0]


def test_a_baseline_numbered_minus_one_comes_first(tmp_path: Path) -> None:
    logs = {"-1": {"full_eval_score": 40.0}, "0": {"mb_score": 50.0}, "1": {"mb_score": 0.0}}
    found = of(Iteration, export(tmp_path, trial_logs=logs))
    assert [(i.iteration, i.score_raw, i.metadata["trial"]) for i in found] == [
        (0, 40.0, -1),
        (1, 50.0, 0),
        (2, 0.0, 1),
    ]
    assert of(Run, tmp_path)[0].initial_score_raw == 40.0


@pytest.mark.parametrize("as_lists", [False, True])
def test_gepa_keeps_lineage_and_scores_of_examples(tmp_path: Path, as_lists: bool) -> None:
    subscores: list[Any] = [[0.0, 1.0], [True, True], [0.5, None]]
    results = {
        "candidates": [{"predict": "a"}, {"predict": "b"}, {"predict": "c"}],
        "parents": [[None], [0], [0, 1]],
        "val_aggregate_scores": [0.5, 1.0, 0.5],
        "val_subscores": subscores if as_lists else [{str(n): v for n, v in enumerate(s)} for s in subscores],
        "discovery_eval_counts": [0, 8, 20],
        "total_metric_calls": 24,
        "best_idx": 1,
    }
    folder = export(tmp_path / "run", detailed_results=results, program=state("b")["__module_state__"])
    [run] = of(Run, folder)
    assert (run.score_scale, run.initial_score_raw, run.final_score_raw, run.samples_evaluated) == (UNIT, 0.5, 1.0, 24)
    iterations = of(Iteration, folder)
    assert [i.parent_iterations for i in iterations] == [[], [0], [0, 1]]
    assert [i.successful_samples for i in iterations] == [1, 2, None]
    assert iterations[1].program_hash == run.program_hash
    assert [(s.iteration, s.sample_index, s.score_raw, s.is_correct) for s in of(Sample, folder)] == [
        (0, 0, 0.0, False), (0, 1, 1.0, True), (1, 0, 1.0, True), (1, 1, 1.0, True), (2, 0, 0.5, None),
        (2, 1, None, None),
    ]  # fmt: skip


def test_a_log_dir_alone_is_a_run_that_goes_on_without_scores(tmp_path: Path) -> None:
    log = export(
        tmp_path / "gepa",
        candidates=[{"predict": "a"}, {"predict": "b"}],
        run_log=[{"i": 0, "selected_program_candidate": 0, "new_program_idx": 1, "tasks": [{"parent_idx": 0}]}],
    )
    (log / "gepa_state.bin").write_bytes(pickle.dumps({}, protocol=4))
    assert dspy.root(log / "candidates.json") == log
    [run] = of(Run, log)
    assert (run.status, run.final_score_raw, run.metadata["left_out"]) == ("running", None, ["gepa_state.bin"])
    assert [(i.parent_iterations, i.score_raw) for i in of(Iteration, log)] == [([], None), ([0], None)]
    key = run.key
    export(log, candidates=[{"predict": "a"}, {"predict": "b"}, {"predict": "c"}])
    assert of(Run, log)[0].key == key

    programs = tmp_path / "mipro" / "evaluated_programs"
    export(programs, **{"program_-1": STATE})
    assert records(tmp_path / "mipro") == []
    export(programs, program_2=state("b")["__module_state__"], program_3_full_eval=state("b")["__module_state__"])
    assert dspy.root(programs / "program_2.json") == tmp_path / "mipro"
    assert [(i.iteration, i.evaluation_kind) for i in of(Iteration, tmp_path / "mipro")] == [
        (1, "full"), (2, "minibatch"), (3, "full"),
    ]  # fmt: skip


def test_a_copied_folder_is_the_same_run_and_other_scores_are_another(tmp_path: Path) -> None:
    folder = export(tmp_path / "run", trial_logs={"1": {"full_eval_score": 55.0}}, attrs={"_compiled": True})
    shutil.copytree(folder, tmp_path / "copy")
    repeated = export(tmp_path / "again", trial_logs={"1": {"full_eval_score": 60.0}}, attrs={"_compiled": True})
    key = of(Run, folder)[0].key
    assert of(Run, tmp_path / "copy")[0].key == key != of(Run, repeated)[0].key
    export(folder, attrs={"_compiled": True, "task": "named later"})
    assert of(Run, folder)[0].key == key


def test_a_metric_beyond_its_scale_knows_no_bounds(tmp_path: Path) -> None:
    wild = export(tmp_path / "wild", trial_logs={"1": {"full_eval_score": -380180.0}, "2": {"mb_score": 12.0}})
    assert of(Run, wild)[0].score_scale == UNBOUNDED
    tame = export(tmp_path / "tame", trial_logs={"1": {"full_eval_score": 0.0}, "2": {"mb_score": 100.0}})
    assert of(Run, tame)[0].score_scale == PERCENT


def test_saved_programs_of_all_layouts_are_known_by_their_content(tmp_path: Path) -> None:
    old = {"predictor": {"lm": None, "traces": [], "train": [], "demos": [], "signature_instructions": "Go."}}
    versions = {"metadata": {"dependency_versions": {"dspy": "3.4.1"}}}
    export(tmp_path, old=old, new=STATE | versions, same=STATE)
    for name in ("old", "new", "same"):
        path = tmp_path / f"{name}.json"
        assert dspy.matches(path, path.read_bytes())
        assert dspy.root(path) == path
    [run] = of(Run, tmp_path / "new.json")
    assert (run.final_score_raw, run.status, run.metadata) == (
        None, "completed", {"dependency_versions": {"dspy": "3.4.1"}},
    )  # fmt: skip
    assert run.key == of(Run, tmp_path / "same.json")[0].key != of(Run, tmp_path / "old.json")[0].key
    bound = {"predict": STATE["predict"] | {"lm": {"model": "openai/gpt-4o-mini"}}}
    assert of(Run, export(tmp_path / "b", mine=bound) / "mine.json")[0].config == {
        "model_config": {"model": "openai/gpt-4o-mini"}
    }


def test_an_evaluation_saved_in_three_forms_is_one_run(tmp_path: Path) -> None:
    rows = [
        {"q": "1+1", "example_a": "2", "reasoning": "sum", "pred_a": "2", "exact": True},
        {"q": "2+2", "example_a": "4", "reasoning": "sum", "pred_a": "5", "exact": False},
    ]
    export(tmp_path, result=rows, score={"score": 50.0})
    (tmp_path / "result.csv").write_text(
        "q,example_a,reasoning,pred_a,exact\n1+1,2,sum,2,True\n2+2,4,sum,5,False\n", encoding="utf-8"
    )
    for path in tmp_path.iterdir():
        assert dspy.matches(path, path.read_bytes())
        assert dspy.root(path) == tmp_path / "result.json"
    [run, _, right, wrong] = records(tmp_path / "result.json")
    assert isinstance(run, Run)
    assert isinstance(right, Sample)
    assert isinstance(wrong, Sample)
    assert (run.optimizer_type, run.final_score_raw, run.score_scale) == ("evaluate", 50.0, PERCENT)
    assert run.config["metric"] == "exact"
    assert (right.input, right.expected_output) == ({"q": "1+1"}, {"a": "2"})
    assert (right.predicted_output, right.is_correct) == ({"reasoning": "sum", "a": "2"}, True)
    assert (wrong.score_raw, wrong.is_correct) == (0.0, False)
    assert of(Run, tmp_path / "result.csv")[0].key == run.key


def test_a_table_may_hold_long_passages_and_one_bad_row_costs_only_itself(tmp_path: Path) -> None:
    passage = "word " * 40_000
    path = tmp_path / "result.csv"
    path.write_text(f"q,example_a,pred_a,exact\n1+1,2,2,True\n1,2,3,4,5\n{passage},2,3,False\n", encoding="utf-8")
    found = records(path)
    assert [sample.sample_index for sample in found if isinstance(sample, Sample)] == [0, 2]
    [line] = [record for record in found if isinstance(record, BadLine)]
    assert line.detail == "row 2 is left out: it has more values than the table has columns."
    [run] = [record for record in found if isinstance(record, Run)]
    assert (run.final_score_raw, run.samples_evaluated) == (50.0, 2)


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "opened",)

    path = tmp_path / "program.pkl"
    path.write_bytes(pickle.dumps(Trap()))
    assert dspy.matches(path, path.read_bytes())
    with pytest.raises(Unreadable, match="pickle, which is refused"):
        records(dspy.root(path))
    assert not (tmp_path / "opened").exists()


def test_one_bad_entry_costs_only_itself(tmp_path: Path) -> None:
    logs = {"1": {"full_eval_score": 50.0}, "2": {"mb_score": "high"}, "x": {}, "3": ["nothing"]}
    (export(tmp_path, trial_logs=logs) / "program.json").write_text('{"predict": {"demos": [')
    found = records(tmp_path)
    assert [r.iteration for r in found if isinstance(r, Iteration)] == [1]
    assert sorted(r.detail.split(" is left out")[0] for r in found if isinstance(r, BadLine)) == [
        "A program", "trial 2 of trial_logs.json", "trial 3 of trial_logs.json", "trial x of trial_logs.json",
    ]  # fmt: skip


def test_what_json_lacks_is_unscored(tmp_path: Path) -> None:
    (tmp_path / "trial_logs.json").write_text('{"1": {"full_eval_score": NaN}, "2": {"mb_score": 1e999}}')
    assert [i.score_raw for i in of(Iteration, tmp_path)] == [None] * len(of(Iteration, tmp_path))
    assert of(Run, tmp_path)[0].final_score_raw is None


@pytest.mark.parametrize("name", ["trial_logs", "candidate_programs", "detailed_results", "attrs"])
def test_a_measurement_cut_in_the_middle_refuses_the_run(tmp_path: Path, name: str) -> None:
    content = {
        "trial_logs": '{"1": {"full_eval_score": 5', "candidate_programs": '[{"score": 1.0, "program": {',
        "detailed_results": '{"candidates": [{"a": "b"}], "val_aggregate_scores": [', "attrs": '{"_compiled": tr',
    }  # fmt: skip
    path = tmp_path / f"{name}.json"
    path.write_text(content[name])
    assert dspy.matches(path, path.read_bytes())
    with pytest.raises(Unreadable, match=rf"{name}\.json is not whole JSON"):
        records(dspy.root(path))


def test_artifacts_of_an_mlflow_store_are_left_to_it(tmp_path: Path) -> None:
    folder = export(tmp_path / ("0" * 32) / "artifacts", model=STATE)
    assert not dspy.matches(folder / "model.json", (folder / "model.json").read_bytes())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["1", "score", "program", "demos", "candidates", "val_aggregate_scores", "parents", "subscores",
                         "full_eval_score", "train_score", "seed", "__module_state__", "predict", "val_subscores"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
NAMES = ["trial_logs", "candidate_programs", "mb_candidate_programs", "detailed_results", "attrs", "program"]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(st.sampled_from(NAMES), JSON, min_size=1), cut=st.integers(0, 400))
def test_damage_is_told_and_never_raised(tmp_path: Path, files: dict[str, Any], cut: int) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    export(folder, **files)
    first = folder / f"{next(iter(files))}.json"
    if cut < 40:
        first.write_bytes(first.read_bytes()[:cut])
    for path in folder.iterdir():
        dspy.matches(path, path.read_bytes())
        dspy.root(path)
        try:
            records(folder)
            records(path)
        except Unreadable:
            continue


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60),
    name=st.sampled_from(["a.json", "result.csv", "score.json", "x.pkl", "run_log.json"]),
)
def test_any_bytes_are_judged(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    dspy.matches(path, content)
    with pytest.raises(Unreadable):
        records(path)
