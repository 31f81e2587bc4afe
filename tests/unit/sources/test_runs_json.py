"""Runs told as JSON: both dialects and both spellings, every wrapping, and what is wrong with a record."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.sources import lines, runs_json
from pipelines.sources.documents import Document
from pipelines.sources.outputs import PERCENT, UNBOUNDED, UNIT, Iteration, Record, Run, Sample, Unreadable
from pipelines.sources.records import BadLine

RUN = {
    "id": "r1", "projectId": "proj_123", "runName": "Experiment 1", "optimizerType": "miprov2", "status": "completed",
    "config": {"optimizer": "miprov2", "maxIterations": 10}, "initialScore": 0, "finalScore": 0.9234,
    "totalCostUsd": 0.0, "tags": ["production", "v2"], "startTime": "2026-10-01T08:00:00Z",
}  # fmt: skip
ITERATION = {"runId": "r1", "iteration": 1, "score": 0.85, "params": {"numDemos": 5}, "tokensUsed": 0}
SAMPLE = {"runId": "r1", "iteration": 1, "sampleIndex": 0, "score": 0, "isCorrect": False, "latencyMs": 12.6}
OTHER_DIALECT = {
    "id": "r2", "run_name": "search", "optimizer_type": "bayesian", "status": "completed", "best_score": 0.5,
    "search_space": {"t": [0, 1]}, "best_params": {"t": 0}, "iterations_count": 1, "total_cost": 0.25,
    "started_at": "2026-10-01 08:00:00+00", "completed_at": "2026-10-01T10:00:00+02:00",
    "iterations": [{"iteration_number": 1, "score": "0.5", "started_at": "2026-10-01T07:59:59"}],
}  # fmt: skip


def read(path: Path) -> list[Record]:
    return list(runs_json.read(Document(path, datetime(2026, 10, 1, tzinfo=UTC))))


def as_lines(folder: Path, *values: Any) -> Path:
    path = folder / "runs.jsonl"
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))
    return path


def as_document(folder: Path, value: Any) -> Path:
    path = folder / "runs.json"
    path.write_text(json.dumps(value, indent=2))
    return path


def bad(found: list[Record]) -> list[BadLine]:
    return [record for record in found if isinstance(record, BadLine)]


def test_zero_and_false_stay_what_they_are(tmp_path: Path) -> None:
    path = as_lines(tmp_path, RUN, ITERATION, SAMPLE)
    assert runs_json.matches(path, path.read_bytes())
    [run, iteration, sample] = read(path)
    assert isinstance(run, Run)
    assert isinstance(iteration, Iteration)
    assert isinstance(sample, Sample)
    assert (run.key, run.project, run.name, run.optimizer_type) == ("r1", "proj_123", "Experiment 1", "miprov2")
    assert (run.initial_score_raw, run.final_score_raw, run.reported_cost_usd) == (0.0, 0.9234, 0.0)
    assert run.config == {"optimizer": "miprov2", "maxIterations": 10}
    assert (run.start_time, run.score_scale, run.tags) == (
        datetime(2026, 10, 1, 8, tzinfo=UTC), UNIT, ["production", "v2"],
    )  # fmt: skip
    assert (iteration.score_raw, iteration.tokens_used, iteration.cost_usd) == (0.85, 0, None)
    assert iteration.params == {"numDemos": 5}
    assert (iteration.line, iteration.offset) == (2, len(json.dumps(RUN)) + 1)
    assert (sample.score_raw, sample.is_correct, sample.latency_ms) == (0.0, False, 13)


def test_the_second_dialect_says_the_same(tmp_path: Path) -> None:
    [run, iteration] = read(as_document(tmp_path, {"data": [OTHER_DIALECT], "total": 1, "hasMore": False}))
    assert isinstance(run, Run)
    assert isinstance(iteration, Iteration)
    assert run.start_time == run.end_time == datetime(2026, 10, 1, 8, tzinfo=UTC)
    assert (run.reported_iterations, run.reported_best_score_raw, run.reported_cost_usd) == (1, 0.5, 0.25)
    assert (run.search_space, run.best_params, run.metadata) == ({"t": [0, 1]}, {"t": 0}, {})
    assert (iteration.run_key, iteration.iteration, iteration.score_raw) == ("r2", 1, 0.5)
    assert iteration.iteration_start_time == datetime(2026, 10, 1, 7, 59, 59, tzinfo=UTC)


def unnamed(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


@pytest.mark.parametrize(
    "document",
    [
        {"run": RUN, "iterations": [unnamed(ITERATION, "runId")], "samples": [unnamed(SAMPLE, "runId")]},
        RUN | {"iterations": [unnamed(ITERATION, "runId") | {"samples": [unnamed(SAMPLE, "runId", "iteration")]}]},
        [RUN | {"iterations": [ITERATION], "samples": [SAMPLE]}],
        {"runs": [RUN], "iterations": [ITERATION], "samples": [SAMPLE]},
        {"data": {"run": RUN, "iterations": [ITERATION], "samples": [SAMPLE]}},
        [SAMPLE, ITERATION, RUN],
    ],
)
def test_every_wrapping_holds_the_same_records(tmp_path: Path, document: Any) -> None:
    plain = read(as_lines(tmp_path, RUN, ITERATION, SAMPLE))
    path = as_document(tmp_path, document)
    assert runs_json.matches(path, path.read_bytes())

    def kinds(found: list[Record]) -> dict[str, Any]:
        return {
            type(r).__name__: {n: getattr(r, n) for n in r.__struct_fields__ if n not in ("line", "offset")}
            for r in found
        }

    assert kinds(read(path)) == kinds(plain)


def test_later_lines_complete_a_run_and_its_children_may_come_first(tmp_path: Path) -> None:
    started = {"id": "r1", "runName": "x", "optimizerType": "grid_search", "status": "running", "projectId": "shop"}
    path = as_lines(tmp_path, ITERATION, started, {"id": "r1", "status": "completed", "finalScore": 0.0})
    [run, iteration] = read(path)
    assert isinstance(run, Run)
    assert (run.status, run.final_score_raw, run.name, run.line) == ("completed", 0.0, "x", 2)
    assert isinstance(iteration, Iteration)


def test_a_run_without_id_is_known_by_its_name_and_its_beginning(tmp_path: Path) -> None:
    run = unnamed(RUN, "id")
    [first, iteration] = read(as_lines(tmp_path, run, ITERATION | {"runId": "Experiment 1"}))
    assert isinstance(first, Run)
    assert isinstance(iteration, Iteration)
    assert first.key == iteration.run_key == "Experiment 1@2026-10-01T08:00:00Z"
    [later] = read(as_lines(tmp_path, run | {"startTime": "2026-10-02T08:00:00Z"}))
    assert isinstance(later, Run)
    assert later.key != first.key


@pytest.mark.parametrize(
    ("fields", "status"),
    [({}, "pending"), ({"endTime": "2026-10-01T09:00:00Z"}, "completed"), ({"finalScore": 0}, "completed")],
)
def test_a_run_without_status_is_pending_until_it_has_an_end_or_a_score(
    tmp_path: Path, fields: dict[str, Any], status: str
) -> None:
    [run] = read(as_lines(tmp_path, {"id": "r", "optimizerType": "custom"} | fields))
    assert isinstance(run, Run)
    assert run.status == status


@pytest.mark.parametrize(
    ("written", "scale"),
    [([0, 100], PERCENT), ("percent", PERCENT), ("[0,100]", PERCENT), ("(,)", UNBOUNDED), ([0, None], (0, None))],
)
def test_scales_are_taken_as_people_and_databases_write_them(tmp_path: Path, written: Any, scale: Any) -> None:
    [run] = read(as_lines(tmp_path, RUN | {"scoreScale": written}))
    assert isinstance(run, Run)
    assert run.score_scale == scale


def test_unknown_fields_become_metadata(tmp_path: Path) -> None:
    [run] = read(as_lines(tmp_path, RUN | {"gitCommit": "abc", "metadata": {"a": 0}, "durationMs": 5}))
    assert isinstance(run, Run)
    assert run.metadata == {"git_commit": "abc", "a": 0}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (RUN | {"status": "done"}, "unknown_status"),
        (RUN | {"startTime": "yesterday"}, "bad_timestamp"),
        (RUN | {"startTime": 1_760_000_000_000}, "bad_timestamp"),
        (RUN | {"scoreScale": "huge"}, "invalid_scale"),
        (RUN | {"scoreScale": "[-, 1]"}, "invalid_scale"),
        (RUN | {"projectId": "Not a Project"}, "bad_project"),
        (RUN | {"config": "none"}, "unexpected_shape"),
        (unnamed(RUN, "id", "runName"), "run_without_name"),
        (ITERATION | {"score": "high"}, "unexpected_shape"),
        (ITERATION | {"iteration": 1.5}, "unexpected_shape"),
        (unnamed(ITERATION, "runId"), "iteration_without_run"),
        (unnamed(SAMPLE, "iteration"), "sample_without_iteration"),
        ({"hello": 1}, "not_a_record"),
        (7, "not_a_record"),
    ],
)
def test_a_bad_record_is_named_and_the_rest_is_read(tmp_path: Path, record: Any, reason: str) -> None:
    good = RUN | {"id": "good"}
    found = read(as_lines(tmp_path, record, good))
    [line] = bad(found)
    assert (line.line, line.reason) == (1, reason)
    assert line.detail.startswith("Line 1: ")
    assert line.detail.endswith(".")
    assert [r.key for r in found if isinstance(r, Run)] == ["good"]


def test_a_broken_line_is_kept_apart_and_a_last_one_being_written_waits(tmp_path: Path) -> None:
    path = as_lines(tmp_path, RUN, ITERATION)
    path.write_text(path.read_text().replace("\n", '\n{"runId": \n', 1) + '{"runId": "r1", "iter')
    found = read(path)
    assert [(line.line, line.reason) for line in bad(found)] == [(2, "malformed_json")]
    assert len(found) == 3


@pytest.mark.parametrize(
    "write", [as_lines, as_document, lambda f, *v: as_lines(f, {"runs": [v[0]], "iterations": v[1:]})]
)
def test_a_score_that_json_lacks_is_unscored(tmp_path: Path, write: Any) -> None:
    unscored = [RUN | {"finalScore": float("nan")}, ITERATION | {"score": float("-inf")}, ITERATION | {"iteration": 2}]
    path = write(tmp_path, unscored) if write is as_document else write(tmp_path, *unscored)
    assert runs_json.matches(path, path.read_bytes())
    found = read(path)
    assert bad(found) == []
    assert [r.final_score_raw for r in found if isinstance(r, Run)] == [None]
    assert [r.score_raw for r in found if isinstance(r, Iteration)] == [None, 0.85]


def test_compressed_lines_are_read(tmp_path: Path) -> None:
    path = as_lines(tmp_path, RUN, ITERATION)
    packed = tmp_path / "runs.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == read(path)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(Unreadable, match="cannot be decompressed"):
        read(packed)


@pytest.mark.parametrize("count", [2, 9])
def test_a_document_in_one_long_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(runs_json, "MAX_LINE_BYTES", 5_000)
    path = as_lines(tmp_path, {"runs": [RUN | {"id": str(number), "note": "x" * 1_000} for number in range(count)]})
    assert runs_json.matches(path, path.read_bytes()[:1_500])
    assert [r.key for r in read(path) if isinstance(r, Run)] == [str(number) for number in range(count)]


def test_a_first_line_that_is_too_long_costs_nobody_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runs_json, lines):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", 5_000)
    found = read(as_lines(tmp_path, RUN | {"note": "x" * 6_000}, RUN | {"id": "r2"}))
    assert [line.reason for line in bad(found)] == ["line_too_long"]
    assert [r.key for r in found if isinstance(r, Run)] == ["r2"]


def test_a_document_cut_in_the_middle_is_refused_whole(tmp_path: Path) -> None:
    path = as_document(tmp_path, [RUN, RUN | {"id": "r2"}])
    path.write_bytes(path.read_bytes()[:-30])
    assert runs_json.matches(path, path.read_bytes())
    with pytest.raises(Unreadable, match="not whole JSON"):
        read(path)


@pytest.mark.parametrize(
    "value",
    [
        {"type": "user", "sessionId": "s", "message": {"role": "user"}},
        {"eval": {"run_id": "x"}, "status": "success", "version": 2},
        {"evalId": "e", "results": {"version": 3}, "config": {}},
        [{"task_id": 0, "trial": 0, "reward": 1.0, "info": {}, "traj": []}],
        {"runs": [{"run_name": "compile", "status": "FINISHED"}]},
        {"config": {"a": 1}, "status": "completed"},
        [],
        "run_name",
    ],
)
def test_documents_of_others_are_left_alone(tmp_path: Path, value: Any) -> None:
    for path in (as_lines(tmp_path, value), as_document(tmp_path, value)):
        assert not runs_json.matches(path, path.read_bytes())


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([*RUN, *ITERATION, *SAMPLE, "run", "data", "iterations", "samples", "scoreScale", "metadata"]),
        inner, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANY, noise=st.binary(max_size=20), cut=st.integers(0, 300))
def test_damage_is_told_and_never_raised(tmp_path: Path, value: Any, noise: bytes, cut: int) -> None:
    path = tmp_path / "damaged"
    for content in (json.dumps(value, indent=2).encode(), json.dumps(value).encode() + b"\n" + noise):
        for damaged in (content, content[:cut], noise + content):
            path.write_bytes(damaged)
            runs_json.matches(path, damaged)
            try:
                read(path)
            except Unreadable:
                continue
