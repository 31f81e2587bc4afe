"""Files of optimizers in the warehouse: what they hold is there once, what is wrong with them is named."""

import json
import os
import random
import re
import shutil
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.ingest.report import IngestReport
from pipelines.samples import optimizations
from pipelines.settings import REPOSITORY, Settings
from pipelines.sources import dspy, runs_json
from tests.corpus_contents.dspy import CONTENTS

TABLES = ("optimization_runs", "optimization_iterations", "optimization_samples")


def counts(report: IngestReport) -> dict[str, tuple[int, int, int]]:
    return {
        table: (found.inserted, found.updated, found.unchanged)
        for table in TABLES
        if (found := report.records.get(table)) is not None
    }


def stored(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def everything(dsn: str) -> list[Any]:
    """All rows but the times and files of their writing."""
    row = "to_jsonb(t) - '{ingested_at,updated_at,source_file_key}'::text[]"
    return [stored(dsn, f"select {row} from raw.{table} as t order by id") for table in TABLES]


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_sample_runs_are_what_was_written_and_are_stored_once(dsn: str, settings: Settings, tmp_path: Path) -> None:
    truth = optimizations.write(tmp_path / "runs")
    report = ingest.run([tmp_path / "runs"], dsn=dsn, settings=settings)
    assert (report.problems, report.quarantined) == ([], 0)
    rows = stored(
        dsn,
        """
        select r.project_id, r.run_name, r.optimizer_type, r.status, r.task, r.model, r.start_time,
            r.initial_score_raw, r.final_score_raw, r.iterations, r.full_evaluations, r.iteration_tokens,
            r.iteration_cost_usd, count(s), count(*) filter (where s.is_correct)
        from raw.optimization_runs as r
        left join raw.optimization_samples as s on s.project_id = r.project_id and s.run_id = r.id
        group by r.project_id, r.id
        """,
    )
    expected = [
        (
            run.project, run.name, run.optimizer_type, run.status, run.task, run.model, run.start_time,
            None if run.initial is None else Decimal(str(run.initial)),
            None if run.final is None else Decimal(str(run.final)),
            run.iterations, run.full_evaluations, run.tokens, pytest.approx(Decimal(str(run.cost_usd))), run.samples,
            run.correct,
        )
        for run in truth.runs
    ]  # fmt: skip
    assert sorted(rows, key=lambda row: row[:7]) == sorted(expected, key=lambda row: row[:7])
    before = everything(dsn)
    again = ingest.run([tmp_path / "runs"], dsn=dsn, settings=settings)
    assert (again.problems, counts(again)) == ([], {})
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    copied = ingest.run([tmp_path / "copy"], dsn=dsn, settings=settings)
    assert copied.problems == []
    assert {table: found[:2] for table, found in counts(copied).items()} == dict.fromkeys(TABLES, (0, 0))
    assert everything(dsn) == before


def test_the_sample_in_the_documentation_is_loaded_as_it_says(dsn: str, settings: Settings, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "formats" / "runs-json.md").read_text()
    [lines] = re.findall(r"```jsonl\n(.*?)```", page, re.DOTALL)
    (tmp_path / "runs.jsonl").write_text(lines)
    report = ingest.run([tmp_path], dsn=dsn, settings=settings, project="docs")
    assert (report.problems, counts(report)) == ([], dict(zip(TABLES, [(1, 0, 0), (2, 0, 0), (2, 0, 0)], strict=True)))
    [row] = stored(
        dsn,
        "select status, model, metric, initial_score, final_score, improvement, duration_ms, best_iteration, "
        "total_tokens, total_cost_usd, unpriced_iterations from raw.optimization_runs",
    )
    assert row == (
        "completed", "gpt-4o-mini", "accuracy", 0, Decimal("0.75"), Decimal("0.75"), 750_000, 1, 3900,
        Decimal("0.0031"), 0,
    )  # fmt: skip


def test_bad_records_are_quarantined_with_a_sentence_and_the_rest_is_loaded(
    dsn: str, settings: Settings, tmp_path: Path
) -> None:
    run = {"optimizer_type": "grid_search", "status": "completed", "start_time": "2026-10-01T08:00:00Z"}
    lines: list[tuple[dict[str, Any], str | None]] = [
        (run | {"id": "good", "run_name": "good", "final_score": 0.5}, None),
        (run | {"id": "percent", "run_name": "percent", "final_score": 62.5, "score_scale": [1, 0]}, "invalid_scale"),
        (run | {"id": "backwards", "run_name": "b", "end_time": "2026-10-01T07:00:00Z"}, "ends_before_start"),
        (run | {"id": "odd", "run_name": "odd", "status": "finished"}, "unknown_status"),
        ({"run_id": "good", "iteration": 0, "score": 0.4}, None),
        ({"run_id": "good", "iteration": 0, "score": 0.4}, None),
        ({"run_id": "good", "iteration": 0, "score": 0.6}, "duplicate_with_other_values"),
        ({"run_id": "good", "iteration": 2, "score": 0.1, "tokens_used": -5}, "invalid_value"),
        ({"run_id": "nobody", "iteration": 0, "score": 0.4}, "unknown_run"),
        ({"run_id": "good", "iteration": 0, "sample_index": 0, "score": 0}, None),
        ({"run_id": "good", "iteration": 9, "sample_index": 0, "score": 1}, "unknown_iteration"),
        ({"run_id": "good", "sample_index": 0, "score": 1}, "sample_without_iteration"),
    ]
    path = write_lines(tmp_path / "runs.jsonl", [line for line, _ in lines])
    report = ingest.run([path], dsn=dsn, settings=settings)
    expected = {(number, reason) for number, (_, reason) in enumerate(lines, 1) if reason}
    assert {(problem.line, problem.reason) for problem in report.problems} == expected
    assert all(re.fullmatch(r"[^\n]+\.", problem.detail) for problem in report.problems)
    assert stored(dsn, "select source_key, final_score, iterations, best_score from raw.optimization_runs") == [
        ("good", Decimal("0.5"), 1, Decimal("0.4"))
    ]
    assert stored(dsn, "select iteration, score_raw from raw.optimization_samples") == [(0, 0)]
    assert len(stored(dsn, "select from ops.quarantined_records")) == len(expected)
    os.utime(path)
    assert ingest.run([path], dsn=dsn, settings=settings).quarantined == 0


def test_a_run_is_kept_with_scores_outside_its_scale_which_have_no_normalised_value(
    dsn: str, settings: Settings, tmp_path: Path
) -> None:
    run = {"id": "percent", "run_name": "r", "optimizer_type": "custom", "initial_score": 0.5, "final_score": 62.5}
    path = write_lines(tmp_path / "runs.jsonl", [run, {"run_id": "percent", "iteration": 0, "score": 85}])
    assert ingest.run([path], dsn=dsn, settings=settings).problems == []
    assert stored(
        dsn, "select initial_score, final_score_raw, final_score, best_score_raw, best_score from raw.optimization_runs"
    ) == [(Decimal("0.5"), Decimal("62.5"), None, 85, None)]


def test_names_longer_than_an_index_takes_are_shortened_and_stay_apart(
    dsn: str, settings: Settings, tmp_path: Path
) -> None:
    noise = random.Random(1).randbytes(4000).hex()
    run = {"optimizer_type": "custom", "final_score": 0.5}
    lines = [
        run | {"id": "short", "run_name": "short"},
        run | {"id": noise + "1", "run_name": noise + "1", "task": noise + "1", "dataset_hash": noise, "tags": [noise],
               "config": {"metric": noise, "model_config": {"model": noise}, "model": "é" * 3000}},
        run | {"id": noise + "2", "run_name": noise + "2", "task": noise + "2"},
        {"run_id": noise + "2", "iteration": 0, "score": 0.5},
    ]  # fmt: skip
    path = write_lines(tmp_path / "runs.jsonl", lines)
    assert ingest.run([path], dsn=dsn, settings=settings).problems == []
    assert stored(
        dsn,
        "select count(*), count(distinct run_name), count(distinct task), sum(iterations), "
        "max(octet_length(task)) <= 800 from raw.optimization_runs",
    ) == [(3, 3, 2, 1, True)]
    os.utime(path)
    assert counts(ingest.run([path], dsn=dsn, settings=settings))["optimization_runs"] == (0, 0, 3)


def test_a_document_that_an_index_cannot_take_costs_nobody_the_others(
    dsn: str, settings: Settings, tmp_path: Path
) -> None:
    noise = random.Random(1).randbytes(4000).hex()
    run = {"id": "r", "run_name": "r", "optimizer_type": "custom", "final_score": 0.5}
    write_lines(tmp_path / "1.jsonl", [run | {"config": {"metric": {"code": noise}}}])
    write_lines(tmp_path / "2.jsonl", [run | {"id": "s"}])
    report = ingest.run([tmp_path], dsn=dsn, settings=settings)
    assert [(Path(problem.path).name, problem.reason) for problem in report.problems] == [("1.jsonl", "refused")]
    assert stored(dsn, "select source_key from raw.optimization_runs") == [("s",)]


def test_the_project_that_is_given_wins_over_those_that_records_name(
    dsn: str, settings: Settings, tmp_path: Path
) -> None:
    run = {"id": "x", "run_name": "real", "optimizer_type": "custom", "final_score": 0.9, "project_id": "storefront"}
    ingest.run([write_lines(tmp_path / "1.jsonl", [run])], dsn=dsn, settings=settings)
    forged = write_lines(tmp_path / "2.jsonl", [run | {"run_name": "forged"}, {"run_id": "x", "iteration": 0}])
    ingest.run([forged], dsn=dsn, settings=settings, project="other")
    names = stored(dsn, "select project_id, run_name, iterations from raw.optimization_runs order by 1")
    assert names == [("other", "forged", 1), ("storefront", "real", 0)]


def test_children_may_follow_in_a_later_file(dsn: str, settings: Settings, tmp_path: Path) -> None:
    run = {"id": "r", "run_name": "r", "optimizer_type": "custom", "status": "running", "score_scale": [0, 100]}
    ingest.run([write_lines(tmp_path / "1.jsonl", [run])], dsn=dsn, settings=settings, project="shop")
    later = write_lines(tmp_path / "2.jsonl", [{"run_id": "r", "iteration": 0, "score": 62.5}])
    assert ingest.run([later], dsn=dsn, settings=settings, project="shop").problems == []
    assert stored(dsn, "select iterations, best_score from raw.optimization_runs") == [(1, Decimal("0.625"))]


def test_files_of_one_folder_may_refer_to_each_other_in_any_order(dsn: str, settings: Settings, tmp_path: Path) -> None:
    write_lines(tmp_path / "all" / "iterations.jsonl", [{"run_id": "r", "iteration": 0, "score": 0.5}])
    write_lines(tmp_path / "all" / "runs.jsonl", [{"id": "r", "run_name": "r", "optimizer_type": "custom"}])
    write_lines(
        tmp_path / "all" / "attempts.jsonl",
        [{"run_id": name, "iteration": 0, "sample_index": 0, "score": 1} for name in ("r", "nobody")],
    )
    report = ingest.run([tmp_path / "all"], dsn=dsn, settings=settings)
    assert [(problem.reason, Path(problem.path).name) for problem in report.problems] == [
        ("unknown_iteration", "attempts.jsonl")
    ]
    assert report.files_by_state["new"] == 3
    assert counts(report) == dict.fromkeys(TABLES, (1, 0, 0))


def test_secrets_in_programs_and_samples_are_not_stored(dsn: str, settings: Settings, tmp_path: Path) -> None:
    secret = "sk-ant-api03-" + "Ab3" * 31 + "QAA"
    part = {"traces": [], "train": [], "demos": [{"q": f"key {secret}"}], "signature": {"instructions": secret}}
    (tmp_path / "program.json").write_text(json.dumps({"predict": part}))
    run = {"id": "r", "run_name": secret, "optimizer_type": "custom", "status": "done", "config": {"note": secret}}
    write_lines(tmp_path / "runs.jsonl", [run, run | {"id": "s", "status": "failed", "error_message": secret}])
    ingest.run([tmp_path], dsn=dsn, settings=settings)
    assert len(stored(dsn, "select from raw.optimization_runs")) == 2
    for table in (*(f"raw.{name}" for name in TABLES), "ops.quarantined_records"):
        assert not stored(dsn, f"select from {table} as t where t::text like '%{secret[:24]}%'"), table


def test_dspy_files_of_the_corpus(dsn: str, settings: Settings, corpus: Path) -> None:
    first = ingest.run([corpus / "dspy"], dsn=dsn, settings=settings)
    assert [(Path(problem.path).name, problem.reason) for problem in first.problems] == [
        ("gepa__legacy_test_state.bin", "unreadable")
    ]
    assert "never opened" in first.problems[0].detail
    generated = corpus / "dspy" / "generated_dspy_3.4.1"

    def attributes(name: str) -> Any:
        return json.loads((generated / name / "attrs.json").read_text())

    rows = stored(
        dsn,
        "select run_name, optimizer, initial_score_raw, final_score_raw, upper(score_scale), iterations, "
        "full_evaluations, metadata ->> 'left_out' from raw.optimization_runs order by run_name",
    )
    results = json.loads((generated / "gepa" / "detailed_results.json").read_text())
    simba = json.loads((generated / "simba" / "candidate_programs.json").read_text())
    average = json.loads((generated / "evaluate" / "score.json").read_text())["score"]
    score = attributes("miprov2")["score"]
    assert score == 90.0
    assert [tuple(float(v) if isinstance(v, Decimal) else v for v in row) for row in rows] == [
        ("bootstrap_random_search", "bootstrap_random_search", 55.0, 70.0, 100, 7, 7, None),
        ("copro", "copro", None, 66.67, 100, 3, 3, None),
        ("evaluate", "evaluate", None, average, 100, 1, 1, None),
        ("gepa", "gepa", results["val_aggregate_scores"][0], max(results["val_aggregate_scores"]), 1, 3, 3,
         '["log_dir/gepa_state.bin"]'),
        ("knutole__optimized_program", "unknown", None, None, 1, 0, 0, None),
        ("miprov2", "miprov2", 55.0, score, 100, 12, 4, None),
        ("robjsliwa__compiled_program", "unknown", None, None, 1, 0, 0, None),
        ("simba", "simba", 2 / 3, simba[0]["score"], 1, 3, 3, None),
    ]  # fmt: skip
    # The log that the optimizers wrote while they ran says the same of every evaluation of MIPROv2.
    log = (generated / "optimizers.log").read_text().split("Returning best identified program")[0]
    said = [(float(n), int(of)) for n, of in re.findall(r"Average Metric: ([\d.]+) / (\d+)", log)]
    evaluated = stored(
        dsn,
        "select i.score_raw, i.samples_in_iteration, i.evaluation_kind from raw.optimization_iterations as i "
        "join raw.optimization_runs as r on r.id = i.run_id where r.run_name = 'miprov2' order by i.iteration",
    )
    assert [(float(score), of, kind) for score, of, kind in evaluated] == [
        (100 * n / of, of, "full" if of == 20 else "minibatch") for n, of in said
    ]
    minibatches = stored(
        dsn,
        "select max(i.score_raw) from raw.optimization_iterations as i "
        "join raw.optimization_runs as r on r.id = i.run_id "
        "where r.run_name = 'miprov2' and i.evaluation_kind = 'minibatch'",
    )
    assert minibatches == [(100,)], "better than the full score, and not taken for one"
    assert stored(
        dsn,
        "select best_score_raw, best_evaluation_kind from raw.optimization_runs where run_name = 'miprov2'",
    ) == [(90, "full")]
    assert stored(
        dsn,
        "select i.iteration, i.parent_iterations, i.metric_calls_so_far from raw.optimization_iterations as i "
        "join raw.optimization_runs as r on r.id = i.run_id where r.run_name = 'gepa' order by 1",
    ) == [
        (n, [p for p in parents if p is not None], results["discovery_eval_counts"][n])
        for n, parents in enumerate(results["parents"])
    ]
    before = everything(dsn)
    again = ingest.run([corpus / "dspy"], dsn=dsn, settings=settings)
    assert counts(again) == {}
    assert everything(dsn) == before


def test_no_other_file_of_the_corpus_is_taken_for_one_of_these(corpus: Path) -> None:
    named = tuple(CONTENTS)
    for path in (path for path in corpus.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            head = stream.read(256 << 10)
        name = path.relative_to(corpus).as_posix()
        assert not runs_json.matches(path, head), name
        if name.startswith("dspy/"):
            assert name.startswith(named), name
        else:
            assert not dspy.matches(path, head), name
