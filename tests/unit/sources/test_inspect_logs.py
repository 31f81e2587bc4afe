"""Logs of Inspect AI: every sample with its score, tokens, time and tools, whichever file they stand in."""

import csv
import json
import random
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from damage import mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.samples import inspect_logs as samples
from pipelines.sources import inspect_logs
from pipelines.sources.documents import Document, identify
from pipelines.sources.outputs import UNBOUNDED, UNIT, Outcome, Record, Scenario, Simulation, Unreadable
from pipelines.sources.records import BadLine

pytest.importorskip("inspect_ai", reason="inspect-ai is not installed: pip install 'tracemill[inspect]'")

MODIFIED = datetime(2026, 11, 1, tzinfo=UTC)
HEAD = 256 << 10


def read(path: Path) -> list[Record]:
    return list(inspect_logs.read(Document(path, MODIFIED)))


def outcomes(records: Sequence[Record]) -> list[Outcome]:
    return [record for record in records if isinstance(record, Outcome)]


def simulation(records: Sequence[Record]) -> Simulation:
    (found,) = (record for record in records if isinstance(record, Simulation))
    return found


def log(*given_samples: dict[str, Any], **header: Any) -> dict[str, Any]:
    """A log of one task with the samples given, each a sample's fields that are not the usual ones."""
    usual = {"epoch": 1, "input": "2 + 2", "target": "4", "messages": []}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": "EVAL", "run_id": "RUN", "task_id": "TASK", "created": "2026-10-01T08:00:00+02:00",
            "task": "sums", "model": "openai/gpt-4o", "dataset": {"name": "numbers"}, "config": {},
        },
        "stats": {"started_at": "2026-10-01T08:00:00+02:00", "completed_at": "2026-10-01T08:01:00.5+02:00"},
        "samples": [{"id": number, **usual, **sample} for number, sample in enumerate(given_samples, 1)],
        **header,
    }  # fmt: skip


def written(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


def archived(path: Path, members: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member if isinstance(member, bytes) else json.dumps(member))
    return path


def as_archive(path: Path, content: dict[str, Any]) -> Path:
    header = {name: value for name, value in content.items() if name != "samples"}
    start = {name: header[name] for name in ("version", "eval")} | {"plan": {}}
    members = {f"samples/{sample['id']}_epoch_{sample['epoch']}.json": sample for sample in content["samples"]}
    return archived(path, {"_journal/start.json": start, **members, "header.json": header})


def scored(folder: Path, value: Any, **metrics: float) -> tuple[Outcome, Simulation]:
    """What becomes of a score, in a log whose own mean of it is given."""
    named = {name: {"name": name, "value": metric} for name, metric in metrics.items()}
    results = {"scores": [{"name": "match", "scorer": "match", "metrics": named}]} if named else None
    records = read(written(folder / "scored.json", log({"scores": {"match": {"value": value}}}, results=results)))
    return outcomes(records)[0], simulation(records)


@pytest.fixture
def truth(corpus: Path) -> list[dict[str, Any]]:
    """The logs of the corpus as inspect_ai itself reads them."""
    logs: list[dict[str, Any]] = json.loads((corpus / "ground_truth/inspect_logs.json").read_text())["logs"]
    return logs


class TestCorpus:
    def test_every_sample_equals_what_the_tool_itself_reads(self, corpus: Path, truth: list[dict[str, Any]]) -> None:
        letters = {"C": 1.0, "I": 0.0}
        for expected in truth:
            records = read(corpus / expected["file"])
            assert not [record for record in records if isinstance(record, BadLine)]
            sources = {record.scenario_id: record.source_id for record in records if isinstance(record, Scenario)}
            found = {(sources[outcome.scenario_id], outcome.epoch): outcome for outcome in outcomes(records)}
            assert len(found) == len(expected["samples"]), expected["file"]
            for sample in expected["samples"]:
                outcome = found[str(sample["id"]), sample["epoch"]]
                values = [letters.get(value, value) for value in (sample["scores"] or {}).values()]
                usage = sample["model_usage"].get(expected["model"], {})
                assert outcome.status == "success"
                assert outcome.score_raw == (values[0] if values else None)
                assert outcome.tokens_used == usage.get("total_tokens")
                assert outcome.output_tokens == usage.get("output_tokens")
                assert outcome.execution_time_ms == (
                    sample["total_time"] and pytest.approx(sample["total_time"] * 1000)
                )
                assert outcome.metrics.get("working_time_ms") == (
                    sample["working_time"] and pytest.approx(sample["working_time"] * 1000)
                )
                assert outcome.step_count == sample["messages"]

    def test_every_evaluation_equals_what_the_tool_itself_reads(
        self, corpus: Path, truth: list[dict[str, Any]]
    ) -> None:
        statuses = {"success": "completed", "cancelled": "cancelled"}
        for expected in truth:
            found = simulation(read(corpus / expected["file"]))
            assert found.key == expected["eval_id"]
            assert found.status == statuses[expected["status"]]
            assert found.started_at == datetime.fromisoformat(expected["started_at"])
            assert found.completed_at == datetime.fromisoformat(expected["completed_at"])
            assert found.metadata.get("metrics", {}) == expected["metrics"]
            assert found.overall_score_raw == next(iter(expected["metrics"].values()), None)
            assert found.config["model"] == expected["model"]
            assert found.config["packages"] == expected["packages"]

    def test_samples_equal_the_table_of_the_tool(self, corpus: Path) -> None:
        with (corpus / "ground_truth/inspect_samples_df.csv").open() as file:
            rows = list(csv.DictReader(file))
        found = {
            (record.simulation_key, record.scenario_id.rpartition(":")[2], str(record.epoch)): record
            for path in sorted({row["log"] for row in rows})
            for record in outcomes(read(corpus / path))
        }
        letters = {"C": 1.0, "I": 0.0, "0.0": 0.0}
        for row in rows:
            outcome = found[row["eval_id"], row["id"], row["epoch"]]
            scores = [value for column, value in row.items() if column.startswith("score_") and value]
            assert outcome.score_raw == (letters[scores[0]] if scores else None)
            if int(row["total_tokens"]):  # the table has none of older logs
                assert outcome.tokens_used == int(row["total_tokens"])
            if row["total_time"]:
                assert outcome.execution_time_ms == pytest.approx(float(row["total_time"]) * 1000)

    def test_tool_calls_are_counted_with_their_errors(self, corpus: Path) -> None:
        folder = corpus / "inspect/inspect_ai"
        (browser,) = outcomes(read(folder / "analysis/test_logs/2025-05-12T20-27-36-04-00_browser.json"))
        assert [use.tool_name for use in browser.tools] == ["web_browser_go", *["web_browser_click"] * 3]
        assert [use.duration_ms for use in browser.tools] == pytest.approx(
            [4317.574, 1277.824, 2994.536, 1270.255], rel=1e-3
        )
        (errors,) = outcomes(read(folder / "log/test_eval_log/log_tool_call_error.json"))
        assert [use.error_type for use in errors.tools] == [
            "parsing", "timeout", "parsing", "unicode_decode", "permission", "file_not_found", "is_a_directory",
            "limit", "approval", "unknown", "output_limit",
        ]  # fmt: skip

    def test_one_log_in_both_files_is_one_evaluation(self, corpus: Path) -> None:
        folder = corpus / "inspect/inspect_ai/log/test_eval_log"
        first, second = (read(folder / name) for name in ("log_formats.json", "log_formats.eval"))
        assert simulation(first).key == simulation(second).key
        assert simulation(first).config == simulation(second).config
        assert [outcome.scenario_id for outcome in outcomes(first)] == [o.scenario_id for o in outcomes(second)]
        assert [outcome.execution_time for outcome in outcomes(first)] == [o.execution_time for o in outcomes(second)]

    def test_logs_and_only_logs_are_recognised(self, corpus: Path) -> None:
        for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                is_log = identify(path, file.read(HEAD)) == "inspect"
            assert is_log == (path.suffix in (".json", ".eval") and "inspect/inspect_ai" in path.as_posix()), path


def test_what_the_sample_logs_say_is_what_is_read(tmp_path: Path) -> None:
    truth = samples.write(tmp_path)
    found, statuses, tools = [], Counter[str](), Counter[str]()
    for path in sorted(path for path in tmp_path.rglob("*.*") if path.is_file()):
        assert identify(path, path.read_bytes()[:HEAD]) == "inspect"
        records = read(path)
        assert not [record for record in records if isinstance(record, BadLine)]
        statuses[simulation(records).status] += 1
        found += outcomes(records)
    assert statuses == truth.simulations
    assert Counter(outcome.status for outcome in found) == truth.outcomes
    assert sum(outcome.is_passed or False for outcome in found) == truth.passed
    assert sum(outcome.tokens_used or 0 for outcome in found) == truth.tokens
    tools.update(use.status for outcome in found for use in outcome.tools)
    assert tools == truth.tools


@pytest.mark.parametrize(
    ("value", "score", "is_passed"),
    [("C", 1.0, True), ("I", 0.0, False), ("P", 0.5, None), ("N", 0.0, False), (True, 1.0, True), ("yes", 1.0, True)],
)
def test_letters_and_truth_values_are_scores_from_0_to_1(
    tmp_path: Path, value: Any, score: float, is_passed: bool | None
) -> None:
    outcome, _ = scored(tmp_path, value, accuracy=0.5)
    assert (outcome.score_raw, outcome.score_scale, outcome.is_passed) == (score, UNIT, is_passed)


def test_numbers_keep_their_scale_unknown_where_the_log_does_not_tell_it(tmp_path: Path) -> None:
    assert [scored(tmp_path, 0.25, mean=0.4)[0].score_scale, scored(tmp_path, 0.25, mean=7.5)[0].score_scale] == [
        UNIT,
        UNBOUNDED,
    ]
    assert scored(tmp_path, 0.25)[0].score_scale == UNBOUNDED
    outcome, run = scored(tmp_path, 7.5, mean=7.5)
    assert (outcome.score_raw, outcome.score_scale, outcome.is_passed) == (7.5, UNBOUNDED, None)
    assert (run.overall_score_raw, run.score_scale) == (7.5, UNBOUNDED)


def test_what_is_not_scored_is_not_zero(tmp_path: Path) -> None:
    assert scored(tmp_path, "a word")[0].score_raw is None
    outcome, _ = scored(tmp_path, {"style": 1, "truth": 0}, accuracy=0.5)
    assert (outcome.score_raw, outcome.metrics["match"]) == (None, {"style": 1, "truth": 0})
    path = written(
        tmp_path / "nan.json",
        log({"scores": {"match": {"value": float("nan")}}}, {"scores": {"match": {"value": "C"}}}),
    )
    assert "NaN" in path.read_text()
    assert [outcome.score_raw for outcome in outcomes(read(path))] == [None, 1.0]


def test_the_first_scorer_counts_and_the_others_are_metrics(tmp_path: Path) -> None:
    content = log({"scores": {"style": {"value": 0.5}, "match": {"value": "C"}}})
    content["eval"]["scorers"] = [{"name": "match"}, {"name": "style"}]
    (outcome,) = outcomes(read(written(tmp_path / "two.json", content)))
    assert (outcome.score_raw, outcome.metrics) == (1.0, {"style": 0.5})


def test_prompt_tokens_from_caches_are_told_apart_whether_or_not_the_input_includes_them(tmp_path: Path) -> None:
    includes = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110, "input_tokens_cache_read": 60}
    excludes = {"input_tokens": 40, "output_tokens": 10, "total_tokens": 110, "input_tokens_cache_read": 60}
    grader = {"openai/gpt-4o-mini": {"input_tokens": 7, "output_tokens": 1, "total_tokens": 8}}
    given_samples = [{"model_usage": {"openai/gpt-4o": usage, **grader}} for usage in (includes, excludes)]
    for outcome in outcomes(read(written(tmp_path / "cached.json", log(*given_samples)))):
        assert (outcome.input_tokens, outcome.cache_read_tokens, outcome.output_tokens) == (40, 60, 10)
        assert outcome.tokens_used == 110
        assert outcome.metrics["other_model_usage"]["openai/gpt-4o-mini"]["total_tokens"] == 8


def test_errors_limits_and_retries_become_failures(tmp_path: Path) -> None:
    error = {"message": "RateLimitError('429')", "traceback": "", "traceback_ansi": ""}
    given_samples = [
        {"error": error},
        {"limit": {"type": "time", "limit": 60}, "scores": {"match": {"value": "I"}}},
        {"limit": {"type": "token", "limit": 1000}, "scores": {"match": {"value": "C"}}},
        {"limit": {"type": "operator", "limit": 1}},
        {"error_retries": [error], "scores": {"match": {"value": "C"}}},
    ]
    found = outcomes(read(written(tmp_path / "failures.json", log(*given_samples))))
    assert [outcome.status for outcome in found] == ["error", "timeout", "success", "cancelled", "success"]
    assert [outcome.score_raw for outcome in found] == [None, 0.0, 1.0, None, 1.0]
    assert found[0].failures[0].message == "RateLimitError('429')"
    assert found[1].failures[0].category == "timeout"
    assert found[2].failures[0].message == "The sample was stopped by its token limit of 1000."
    retried = found[4].failures[0]
    assert (found[4].retry_count, retried.recovery_attempted, retried.recovery_successful) == (1, True, True)


def test_calls_without_an_answer_and_answers_without_a_call_are_tool_uses(tmp_path: Path) -> None:
    slow = {"type": "timeout", "message": "slow"}
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "1", "function": "bash", "arguments": {"cmd": "ls"}, "type": "function"},
            {"id": "2", "function": "python", "arguments": {}, "type": "function"},
        ]},
        {"role": "tool", "content": "a b", "tool_call_id": "1", "function": "bash"},
        {"role": "tool", "content": "", "tool_call_id": "9", "function": "grep", "error": slow},
    ]  # fmt: skip
    (outcome,) = outcomes(read(written(tmp_path / "tools.json", log({"messages": messages}))))
    assert [(use.tool_name, use.status, use.error_type) for use in outcome.tools] == [
        ("bash", "ok", None), ("python", "unanswered", None), ("grep", "error", "timeout"),
    ]  # fmt: skip
    assert outcome.trajectory["steps"][1] == {"role": "tool", "text": "a b", "tool": "bash"}


def test_trajectories_are_bounded(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "x" * 10_000}] * 600
    (outcome,) = outcomes(read(written(tmp_path / "long.json", log({"messages": messages}))))
    assert outcome.step_count == 600
    assert len(outcome.trajectory["steps"]) == 500
    assert outcome.trajectory["steps_left_out"] == 100
    assert len(json.dumps(outcome.trajectory)) < 500 * 4200


def test_settings_make_the_version_and_times_are_in_utc(tmp_path: Path) -> None:
    content = log(
        {},
        plan={
            "steps": [{"solver": "generate", "params": {"n": 1}}],
            "config": {"temperature": 0.3, "max_connections": 7},
        },
    )
    found = simulation(read(written(tmp_path / "settings.json", content)))
    assert found.config_name == "sums (openai/gpt-4o)"
    assert found.config["generate_config"] == {"temperature": 0.3}
    assert found.config["solver"] == [{"solver": "generate", "params": {"n": 1}}]
    assert found.started_at == datetime(2026, 10, 1, 6, tzinfo=UTC)
    assert found.execution_time_ms == 60_500
    assert found.planned_scenarios == ["sums/numbers:1"]


def test_a_clock_that_was_set_back_costs_no_evaluation(tmp_path: Path) -> None:
    stats = {"started_at": "2026-10-01T08:00:00+02:00", "completed_at": "2026-10-01T07:59:00+02:00"}
    found = simulation(read(written(tmp_path / "back.json", log({}, stats=stats))))
    assert (found.status, found.completed_at, found.execution_time_ms) == ("completed", None, None)


def test_both_files_of_one_log_give_the_same_records(tmp_path: Path) -> None:
    content = log(
        {"scores": {"match": {"value": "C"}}, "completed_at": "2026-10-01T06:00:10+00:00", "total_time": 1.5},
        {"id": "b/c", "epoch": 2, "choices": ["3", "4"], "input": [{"role": "user", "content": "2 + 2"}]},
    )
    first = read(written(tmp_path / "log.json", content))
    second = read(as_archive(tmp_path / "log.eval", content))
    first_simulation, second_simulation = simulation(first), simulation(second)
    assert sorted(map(repr, first[:-1])) == sorted(map(repr, second[:-1]))
    assert first_simulation == second_simulation


def test_a_log_without_an_id_gets_the_same_one_from_both_files(tmp_path: Path) -> None:
    content = log({})
    del content["eval"]["eval_id"]
    keys = {
        simulation(read(written(tmp_path / "log.json", content))).key,
        simulation(read(as_archive(tmp_path / "log.eval", content))).key,
    }
    assert len(keys) == 1


def test_a_log_that_is_being_written_is_loaded_as_running(tmp_path: Path) -> None:
    content = log({"scores": {"match": {"value": "C"}}}, {"scores": {"match": {"value": "I"}}, "total_time": 2.0})
    start = {"version": 2, "eval": content["eval"], "plan": {}}
    first, second = content["samples"]
    summary = {key: second[key] for key in ("id", "epoch", "input", "target", "scores", "total_time")}
    summaries = [summary | {"id": 1, "scores": {}}, summary | {"message_count": 9}]
    path = archived(
        tmp_path / "running.eval",
        {"_journal/start.json": start, "samples/1_epoch_1.json": first, "_journal/summaries/1.json": summaries},
    )
    records = read(path)
    found = simulation(records)
    assert (found.status, found.completed_at) == ("running", None)
    assert [(o.score_raw, o.execution_time_ms, o.step_count) for o in outcomes(records)] == [
        (1.0, None, None),
        (0.0, 2000.0, 9),
    ]


def test_a_sample_that_cannot_be_read_costs_nobody_the_others(tmp_path: Path) -> None:
    content = log({}, {"target": {"no": "target"}}, {})
    for path in (written(tmp_path / "log.json", content), as_archive(tmp_path / "log.eval", content)):
        records = read(path)
        (bad,) = (record for record in records if isinstance(record, BadLine))
        assert len(outcomes(records)) == 2
        assert bad.detail.startswith("Sample ")
        assert "target" in bad.detail


def test_a_member_that_is_no_sample_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    records = read(as_archive(tmp_path / "log.eval", log({}, {"epoch": "never"})))
    (bad,) = (record for record in records if isinstance(record, BadLine))
    assert bad.detail.startswith("The member 'samples/2_epoch_never.json' cannot be read")


@pytest.mark.parametrize("version", [4, 99])
def test_a_log_of_a_newer_version_is_refused_with_a_sentence(tmp_path: Path, version: int) -> None:
    content = log({}, version=version)
    for path in (written(tmp_path / "log.json", content), as_archive(tmp_path / "log.eval", content)):
        with pytest.raises(Unreadable, match=f"version {version}.*newer tracemill"):
            read(path)


def test_a_log_cut_in_the_middle_is_refused_with_a_sentence(tmp_path: Path) -> None:
    content = log(*[{} for _ in range(20)])
    for path in (written(tmp_path / "log.json", content), as_archive(tmp_path / "log.eval", content)):
        whole = path.read_bytes()
        for share in (0.3, 0.6, 0.95):
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(Unreadable, match=r"ends in the middle.*copy the log again"):
                read(path)


def test_without_the_library_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    path = written(tmp_path / "log.json", log({}))
    program = (
        "import sys; sys.modules['inspect_ai'] = None\n"
        "from datetime import datetime; from pathlib import Path\n"
        "from pipelines.sources import inspect_logs; from pipelines.sources.documents import Document\n"
        f"list(inspect_logs.read(Document(Path({str(path)!r}), datetime.now())))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "Unreadable: Logs of Inspect are read by the package inspect-ai" in run.stderr
    assert "pip install 'tracemill[inspect]'" in run.stderr


@settings(max_examples=150, deadline=timedelta(seconds=5), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), is_archive=st.booleans())
def test_damaged_logs_are_refused_or_loaded_in_part(tmp_path: Path, seed: int, is_archive: bool) -> None:
    dice = random.Random(seed)
    messages = [
        {"role": "user", "content": "Wo ist die Straße?"},
        {"role": "assistant", "content": [{"type": "text", "text": "…"}]},
    ]
    content = log(
        *[{"messages": messages, "scores": {"match": {"value": "C"}}, "model_usage": {"openai/gpt-4o": {}}}] * 3
    )
    path = tmp_path / "damaged"
    if is_archive:
        as_archive(path, content)
        if dice.random() < 0.5:
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            victim = dice.choice(sorted(members))
            archived(path, members | {victim: mutated(members[victim], dice)})
        else:
            path.write_bytes(mutated(path.read_bytes(), dice))
    else:
        path.write_bytes(mutated(json.dumps(content).encode(), dice))
    inspect_logs.matches(path, path.read_bytes()[:HEAD])
    try:
        for record in read(path):
            assert not isinstance(record, BadLine) or record.detail
    except Unreadable as error:
        assert str(error)


@settings(deadline=None)
@given(st.binary(max_size=200).flatmap(lambda raw: st.sampled_from([raw, b"PK\3\4" + raw, b'{"version": 2,' + raw])))
def test_any_bytes_can_be_asked_about(head: bytes) -> None:
    inspect_logs.matches(Path("anything"), head)
