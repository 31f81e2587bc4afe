"""Evaluations as JSONL: what the page says is read, and everything else gets a sentence."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from pipelines.settings import REPOSITORY
from tests.documents import MODIFIED, format_of, found, read

RUN = {"type": "simulation", "id": "r1", "config": {"name": "bot", "model": "gpt-4o-mini"}}
PAGE = REPOSITORY / "docs" / "formats" / "evaluation-jsonl.md"


def written(folder, *lines, name="evaluation.jsonl"):
    path = folder / name
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def page_sample() -> str:
    return PAGE.read_text().partition("```jsonl\n")[2].partition("```")[0]


def test_the_sample_of_the_page_is_read_as_the_page_says(tmp_path):
    path = tmp_path / "sample"
    path.write_text(page_sample())
    run = read(path, "evaluation_jsonl")
    assert not run.bad
    (simulation,) = run.simulations
    assert (simulation.key, simulation.config_name, simulation.status) == (
        "support-2026-10-30", "support agent", "completed",
    )  # fmt: skip
    assert sorted(run.scenarios) == ["lost-parcel", "refund-after-30-days"]
    assert [(o.scenario_id, o.epoch, o.status, o.score_raw, o.is_passed, o.model) for o in run.outcomes] == [
        ("refund-after-30-days", 1, "success", 1.0, True, "gpt-4o-mini"),
        ("refund-after-30-days", 2, "success", 0.4, False, "gpt-4o-mini"),
        ("lost-parcel", 1, "timeout", None, None, "gpt-4o-mini"),
    ]
    (failure,) = run.outcomes[2].failures
    assert (failure.failure_type, run.outcomes[2].tools[0].status) == ("ToolTimeout", "error")


def test_the_program_of_the_page_writes_what_is_read(tmp_path, monkeypatch):
    program = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    names = {
        "TASKS": [("t1", "q", "a"), ("t2", "p", "b")],
        "ask": lambda _: "a",
        "grade": lambda *pair: len({*pair}) == 1,
    }
    exec(program, names)  # noqa: S102  # the page's own
    run = read(tmp_path / "support.jsonl", "evaluation_jsonl")
    assert not run.bad
    assert [(outcome.scenario_id, outcome.score_raw) for outcome in run.outcomes] == [("t1", 1), ("t2", 0)]


def test_every_field_that_the_page_lists_is_taken(tmp_path):
    lines = [
        RUN | {"config_name": "c", "name": "n", "status": "failed", "started_at": "2026-03-01T10:00:00",
               "completed_at": "2026-03-01T11:00:00+01:00", "scenarios": ["s"], "score": 80, "score_scale": [0, 100],
               "cost_usd": 0, "timeout_ms": 5, "max_retries": 0, "metadata": {"a": 1}, "project": "p"},
        {"type": "scenario", "id": "s", "name": "S", "prompt": "q", "expected": 0, "expected_tools": [],
         "difficulty": "easy", "tags": ["t"], "dataset": "d", "project": "p"},
        {"type": "outcome", "scenario": "s", "simulation": "r1", "epoch": 2, "time": "2026-03-01T10:30:00Z",
         "status": "error", "score": 0, "score_scale": None, "passed": False, "duration_ms": 0, "model": "m",
         "input_tokens": 0, "cache_read_tokens": 1, "cache_creation_tokens": 2, "output_tokens": 3, "cost_usd": 0,
         "answer": "a", "steps": [{"role": "user", "text": "q"}], "metrics": {"x": 0}, "retries": 1, "error": "e",
         "error_type": "T", "error_category": "tool_error", "project": "p",
         "tools": [{"name": "n", "status": "unanswered", "started_at": "2026-03-01T10:30:00Z", "duration_ms": 1,
                    "cost_usd": 0, "error": None}]},
    ]  # fmt: skip
    listed = {name for part in PAGE.read_text().partition("## Fields")[2].split("`") for name in part.split()}
    assert {name for line in lines for name in line} - {"type"} <= listed
    run = read(written(tmp_path, *lines), "evaluation_jsonl")
    assert not run.bad
    (simulation,), (outcome,) = run.simulations, run.outcomes
    assert simulation.started_at == simulation.completed_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert (simulation.overall_score_raw, simulation.score_scale, simulation.total_cost_usd) == (80, (0, 100), 0)
    assert (outcome.score_raw, outcome.score_scale, outcome.is_passed, outcome.cost_usd) == (0, (0, 100), False, 0)
    assert (outcome.input_tokens, outcome.execution_time_ms, outcome.metrics) == (0, 0, {"x": 0})
    assert run.scenarios["s"].ground_truth == 0
    assert {record.project for record in run.records} == {"p"}
    assert [record.line for record in run.records] == [1, 2, 3]


def test_outcomes_belong_to_the_last_simulation_before_them(tmp_path):
    lines = [RUN, {"type": "outcome", "scenario": "s"}, RUN | {"id": "r2"}, {"type": "outcome", "scenario": "s"}]
    run = read(written(tmp_path, *lines), "evaluation_jsonl")
    assert [(outcome.simulation_key, outcome.execution_time) for outcome in run.outcomes] == [
        ("r1", MODIFIED),
        ("r2", MODIFIED),
    ]


def test_yaml_is_kept_as_it_was_written(tmp_path):
    text = "# ours\nname: bot\nmodel: gpt-4o\nsince: 2026-01-02\n"
    (simulation,) = read(written(tmp_path, RUN | {"config": text}), "evaluation_jsonl").simulations
    assert simulation.config == {"name": "bot", "model": "gpt-4o", "since": "2026-01-02"}
    assert (simulation.config_yaml, simulation.config_name) == (text, "bot")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        ('{"type": "outcome"', "malformed_json", "truncated"),
        ({"type": "outcome", "scenario": "s", "socre": 1}, "unexpected_shape", "unknown field `socre`"),
        ({"type": "outcome", "scenario": "s", "status": "fine"}, "unexpected_shape", "fine"),
        ({"type": "outcome", "scenario": "s", "epoch": 0}, "unexpected_shape", "$.epoch"),
        ({"type": "outcome", "scenario": "s", "input_tokens": -1}, "unexpected_shape", "$.input_tokens"),
        ({"type": "novelty"}, "unexpected_shape", "novelty"),
        ({"scenario": "s"}, "unexpected_shape", "type"),
        (RUN | {"config": BOMB}, "configuration_refused", "aliases multiply"),
        (RUN | {"config": "x: " + "y" * 5_000_000}, "configuration_refused", "5.0 MB"),
        (RUN | {"config": {"x": "y" * 5_000_000}}, "configuration_too_large", "5.0 MB"),
        (RUN | {"config": "model: [unclosed"}, "configuration_refused", "(line 1 of it)"),
        (RUN | {"config": "just text"}, "configuration_refused", "no mapping"),
    ],
)
def test_a_line_that_cannot_be_used_gets_a_sentence_and_the_others_are_read(tmp_path, line, reason, words):
    run = read(written(tmp_path, RUN, line, {"type": "outcome", "scenario": "s"}), "evaluation_jsonl")
    assert len(run.outcomes) == 1
    (bad,) = run.bad
    assert (bad.line, bad.reason) == (2, reason)
    assert words in bad.detail
    assert bad.detail.endswith(".")


@pytest.mark.parametrize("config", ["x: " + "y" * 5_000_000, {"x": "y" * 5_000_000}])
def test_a_file_that_begins_with_a_large_configuration_is_known(tmp_path, config):
    (bad,) = read(written(tmp_path, RUN | {"config": config}), "evaluation_jsonl").bad
    assert "5.0 MB" in bad.detail


def test_an_outcome_without_a_simulation_says_how_to_begin_the_file(tmp_path):
    (bad,) = read(written(tmp_path, {"type": "outcome", "scenario": "s"}), "evaluation_jsonl").bad
    assert bad.reason == "unknown_simulation"
    assert 'begin the file with a line of type "simulation"' in bad.detail


def test_the_same_outcome_twice_is_loaded_once(tmp_path):
    lines = [RUN, {"type": "outcome", "scenario": "s", "score": 1}, {"type": "outcome", "scenario": "s", "score": 0}]
    run = read(written(tmp_path, *lines), "evaluation_jsonl")
    assert [outcome.score_raw for outcome in run.outcomes] == [1]
    assert [(bad.line, bad.reason) for bad in run.bad] == [(3, "duplicate_outcome")]


def test_compressed_files_are_read(tmp_path):
    plain = written(tmp_path, RUN, {"type": "outcome", "scenario": "s"})
    path = tmp_path / "evaluation.jsonl.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert len(found(path, "evaluation_jsonl").outcomes) == 1


def test_lines_of_other_formats_are_not_claimed(tmp_path):
    for line in ({"type": "user", "scenario": "s"}, {"type": "outcome"}, {"type": "scenario", "id": 1}, [1], "x"):
        assert format_of(written(tmp_path, line)) is None
