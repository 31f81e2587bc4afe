"""Results of promptfoo: counts equal its own, whatever the order, and json and jsonl of one run are the same run."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from damage import mutated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.samples import promptfoo as samples
from pipelines.sources import promptfoo
from pipelines.sources.documents import Document, identify
from pipelines.sources.outputs import UNBOUNDED, Outcome, Record, Scenario, Simulation, Unreadable
from pipelines.sources.records import BadLine

MODIFIED = datetime(2026, 11, 1, tzinfo=UTC)
HEAD = 256 << 10


def read(path: Path) -> list[Record]:
    return list(promptfoo.read(Document(path, MODIFIED)))


def outcomes(records: Sequence[Record]) -> list[Outcome]:
    return [record for record in records if isinstance(record, Outcome)]


def simulations(records: Sequence[Record]) -> list[Simulation]:
    return [record for record in records if isinstance(record, Simulation)]


def verdicts(found: Sequence[Outcome]) -> dict[str, int]:
    """The counts that promptfoo gives in its ``stats``."""
    return {
        "successes": sum(outcome.is_passed is True for outcome in found),
        "failures": sum(outcome.status == "success" and outcome.is_passed is False for outcome in found),
        "errors": sum(outcome.status == "error" for outcome in found),
    }


def result(test_idx: int = 0, prompt_idx: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"id-{test_idx}-{prompt_idx}", "testIdx": test_idx, "promptIdx": prompt_idx, "success": True, "score": 1,
        "latencyMs": 10, "namedScores": {}, "failureReason": 0, "prompt": {"raw": "Hi", "label": "hello"},
        "provider": {"id": "openai:chat:gpt-4o"}, "testCase": {"vars": {"name": "Ada"}, "assert": []},
        "response": {"output": "Hi Ada"}, **fields,
    }  # fmt: skip


def document(*results: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"version": 3, "timestamp": "2026-10-01T08:00:00.000Z", "prompts": [], "results": list(results)}
    return {"evalId": "eval-1", "results": body | fields.pop("results", {}), "config": {}, **fields}


def written(path: Path, content: dict[str, Any] | Sequence[dict[str, Any]]) -> Path:
    if isinstance(content, dict):
        path.write_text(json.dumps(content))
    else:
        path.write_text("".join(json.dumps(line) + "\n" for line in content))
    return path


class TestCorpus:
    FOLDER = "promptfoo/generated_0.121.20"

    def test_counts_tokens_and_cost_equal_its_own(self, corpus: Path) -> None:
        path = corpus / self.FOLDER / "results.json"
        own = json.loads(path.read_text())["results"]
        records = read(path)
        found = outcomes(records)
        assert verdicts(found) == {name: own["stats"][name] for name in ("successes", "failures", "errors")}
        assert sum(outcome.tokens_used or 0 for outcome in found) == own["stats"]["tokenUsage"]["total"]
        assert sum(outcome.output_tokens or 0 for outcome in found) == own["stats"]["tokenUsage"]["completion"]
        assert len([record for record in records if isinstance(record, Scenario)]) == 8
        for run, prompt in zip(simulations(records), own["prompts"], strict=True):
            metrics = prompt["metrics"]
            of_run = [outcome for outcome in found if outcome.simulation_key == run.key]
            assert verdicts(of_run) == {
                "successes": metrics["testPassCount"],
                "failures": metrics["testFailCount"],
                "errors": metrics["testErrorCount"],
            }
            assert run.config_name == f"{prompt['provider']}: {prompt['label']}"
            assert sum(outcome.score_raw or 0 for outcome in of_run) == pytest.approx(metrics["score"])
            assert sum(outcome.cost_usd or 0 for outcome in of_run) == pytest.approx(metrics["cost"])
            assert sum(outcome.execution_time_ms or 0 for outcome in of_run) == metrics["totalLatencyMs"]
            assert sum(outcome.metrics.get("brevity", 0) for outcome in of_run) == metrics["namedScores"]["brevity"]

    def test_errors_are_not_scored_and_failed_checks_are_no_errors(self, corpus: Path) -> None:
        found = outcomes(read(corpus / self.FOLDER / "results.json"))
        errors = [outcome for outcome in found if outcome.status == "error"]
        assert {outcome.failures[0].message for outcome in errors} == {"toy provider: simulated 529 overloaded"}
        assert {(o.score_raw, o.is_passed, o.cost_usd, o.tokens_used) for o in errors} == {(None, None, None, None)}
        assert not [outcome for outcome in found if outcome.status == "success" and outcome.failures]

    def test_the_lines_alone_give_the_same_runs(self, corpus: Path, tmp_path: Path) -> None:
        whole = read(corpus / self.FOLDER / "results.json")
        lines = read(Path(shutil.copy(corpus / self.FOLDER / "results.jsonl", tmp_path / "alone.jsonl")))
        assert [run.key for run in simulations(lines)] == [run.key for run in simulations(whole)]
        assert [run.config_name for run in simulations(lines)] == [run.config_name for run in simulations(whole)]

        def facts(records: Sequence[Record]) -> set[tuple[Any, ...]]:
            return {
                (o.simulation_key, o.scenario_id, o.epoch, o.status, o.score_raw, o.tokens_used, o.cost_usd)
                for o in outcomes(records)
            }

        assert facts(lines) == facts(whole)
        assert len(facts(lines)) == 48

    def test_results_and_only_results_are_recognised(self, corpus: Path) -> None:
        for path in sorted(path for path in corpus.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                are_results = identify(path, file.read(HEAD)) == "promptfoo"
            assert are_results == (path.name in ("results.json", "results.jsonl") and "promptfoo" in path.parts[-3]), (
                path
            )


def test_what_the_sample_results_say_is_what_is_read(tmp_path: Path) -> None:
    truth = samples.write(tmp_path)
    paths = sorted(path for path in tmp_path.rglob("*.*") if path.is_file())
    assert len(paths) == truth.files
    assert {identify(path, path.read_bytes()[:HEAD]) for path in paths} == {"promptfoo"}
    records = [record for path in {promptfoo.root(path) for path in paths} for record in read(path)]
    found = outcomes(records)
    assert Counter(verdicts(found)) == truth.verdicts
    assert len({run.key for run in simulations(records)}) == len(simulations(records)) == truth.simulations
    assert sum(outcome.tokens_used or 0 for outcome in found) == truth.tokens
    assert sum(outcome.cost_usd or 0 for outcome in found) == pytest.approx(truth.cost_usd)


def test_the_order_of_results_does_not_matter(tmp_path: Path) -> None:
    samples.write(tmp_path / "logs", projects=["one"])
    path = max((tmp_path / "logs").rglob("*.json"), key=lambda found: found.stat().st_size)
    content = json.loads(path.read_text())

    def facts() -> tuple[list[str], set[str]]:
        records = read(written(tmp_path / "shuffled.json", content))
        for record in records:
            if not isinstance(record, BadLine):
                record.line = record.offset = 0
        return [repr(run) for run in simulations(records)], {repr(outcome) for outcome in outcomes(records)}

    expected = facts()
    for seed in range(5):
        random.Random(seed).shuffle(content["results"]["results"])
        assert facts() == expected


def test_repeats_of_a_test_are_epochs_of_one_scenario(tmp_path: Path) -> None:
    other = {"vars": {"name": "Grace"}, "assert": []}
    given_results = [result(3), result(1, testCase=other), result(0), result(2, testCase=other)]
    found = outcomes(read(written(tmp_path / "repeats.json", document(*given_results))))
    assert len({outcome.scenario_id for outcome in found}) == 2
    assert [outcome.epoch for outcome in found] == [2, 1, 1, 2]


def test_a_jsonl_beside_its_json_is_read_once(tmp_path: Path) -> None:
    whole = written(tmp_path / "run.json", document(result(0), result(1)))
    lines = written(tmp_path / "run.jsonl", [result(1), result(0)])
    assert promptfoo.root(lines) == promptfoo.root(whole) == whole
    other = written(tmp_path / "run.jsonl", [result(0, id="of another evaluation")])
    assert promptfoo.root(other) == other
    (tmp_path / "alone.jsonl").touch()
    assert promptfoo.root(tmp_path / "alone.jsonl") == tmp_path / "alone.jsonl"


def test_settings_of_the_suite_make_the_version(tmp_path: Path) -> None:
    suite = {
        "description": "greetings",
        "providers": ["echo", {"id": "openai:chat:gpt-4o", "config": {"temperature": 0.2}}],
    }
    prompts = [{"raw": "Hi {{name}}", "label": "hello", "provider": "openai:chat:gpt-4o"}]
    content = document(result(), config=suite, results={"prompts": prompts, "stats": {"durationMs": 1500}})
    (run,) = simulations(read(written(tmp_path / "run.json", content)))
    assert run.config == {
        "model": "openai/gpt-4o",
        "provider": {"id": "openai:chat:gpt-4o", "config": {"temperature": 0.2}},
        "prompt": {"label": "hello", "template": "Hi {{name}}"},
    }
    assert (run.name, run.config_name, run.metadata["evaluation"]) == (
        "greetings",
        "openai:chat:gpt-4o: hello",
        "eval-1",
    )
    assert run.started_at == datetime(2026, 10, 1, 8, tzinfo=UTC)
    assert run.completed_at == datetime(2026, 10, 1, 8, 0, 1, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai:gpt-4o", "openai/gpt-4o"),
        ("anthropic:messages:claude-sonnet-5-5", "anthropic/claude-sonnet-5-5"),
        ("ollama:chat:llama3:8b", "ollama/llama3:8b"),
        ("file://provider.js", "file://provider.js"),
        ("echo", "echo"),
    ],
)
def test_models_are_named_as_price_lists_do(tmp_path: Path, provider: str, model: str) -> None:
    records = read(written(tmp_path / "run.json", document(result(provider={"id": provider}))))
    assert simulations(records)[0].config["model"] == model


def test_what_costs_nothing_is_told_from_what_has_no_price(tmp_path: Path) -> None:
    free, unknown = {"output": "Hi", "cost": 0}, {"output": "Hi"}
    given_results = [result(0, response=free, cost=0), result(1, response=unknown, cost=0), result(2, response=unknown)]
    records = read(written(tmp_path / "run.json", document(*given_results)))
    assert [outcome.cost_usd for outcome in outcomes(records)] == [0, None, None]
    assert simulations(records)[0].total_cost_usd is None


def test_cached_answers_are_marked_and_prompt_caches_told_apart(tmp_path: Path) -> None:
    details = {"cacheReadInputTokens": 60, "cacheCreationInputTokens": 0}
    usage = {"prompt": 100, "completion": 5, "total": 105, "completionDetails": details}
    local = {"output": "Hi", "cached": True, "tokenUsage": {"cached": 105, "total": 105}}
    paid, cached = outcomes(
        read(
            written(
                tmp_path / "run.json",
                document(result(0, response={"output": "Hi", "tokenUsage": usage}), result(1, response=local)),
            )
        )
    )
    assert (paid.input_tokens, paid.cache_read_tokens, paid.output_tokens, paid.tokens_used) == (40, 60, 5, 105)
    assert (cached.input_tokens, cached.tokens_used, cached.metrics) == (None, 105, {"is_cached": True})


def test_scores_beyond_1_have_no_scale(tmp_path: Path) -> None:
    records = read(written(tmp_path / "run.json", document(result(0, score=7), result(1, score=0.5))))
    assert {outcome.score_scale for outcome in outcomes(records)} == {UNBOUNDED}
    assert (simulations(records)[0].overall_score_raw, simulations(records)[0].score_scale) == (3.75, UNBOUNDED)


def test_a_result_that_cannot_be_read_costs_nobody_the_others(tmp_path: Path) -> None:
    bad = {"testIdx": "one", "promptIdx": 0}
    whole = read(written(tmp_path / "run.json", document(result(0), bad, result(2))))
    lines = read(written(tmp_path / "lines.jsonl", [result(0), bad, result(2)]))
    for records in (whole, lines):
        (found,) = (record for record in records if isinstance(record, BadLine))
        assert "testIdx" in found.detail
        assert len(outcomes(records)) == 2


@pytest.mark.parametrize(("version", "sentence"), [(2, "export it with promptfoo"), (4, "newer tracemill")])
def test_other_versions_are_refused_with_a_sentence(tmp_path: Path, version: int, sentence: str) -> None:
    path = written(tmp_path / "run.json", document(result(), results={"version": version}))
    with pytest.raises(Unreadable, match=f"version {version}.*{sentence}"):
        read(path)


def test_a_document_cut_in_the_middle_is_refused_and_a_torn_line_waits(tmp_path: Path) -> None:
    whole = written(tmp_path / "run.json", document(*map(result, range(20))))
    whole.write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(Unreadable, match=r"ends in the middle; export the evaluation again"):
        read(whole)
    lines = written(tmp_path / "lines.jsonl", [result(0), result(1)])
    lines.write_bytes(lines.read_bytes()[:-50])
    records = read(lines)
    assert len(outcomes(records)) == 1
    assert not [record for record in records if isinstance(record, BadLine)]


@settings(max_examples=200, deadline=timedelta(seconds=5), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), are_lines=st.booleans())
def test_damaged_results_are_refused_or_loaded_in_part(tmp_path: Path, seed: int, are_lines: bool) -> None:
    dice = random.Random(seed)
    grading = {"pass": True, "reason": "…", "componentResults": [{"pass": True, "assertion": {"type": "equals"}}]}
    results = [result(number, gradingResult=grading, tokenUsage={"total": 3}) for number in range(3)]
    path = tmp_path / ("damaged.jsonl" if are_lines else "damaged.json")
    if are_lines:
        path.write_bytes(b"\n".join(mutated(json.dumps(line).encode(), dice) for line in results) + b"\n")
    else:
        path.write_bytes(mutated(json.dumps(document(*results)).encode(), dice))
    promptfoo.matches(path, path.read_bytes()[:HEAD])
    promptfoo.root(path)
    try:
        for record in read(path):
            assert not isinstance(record, BadLine) or record.detail
    except Unreadable as error:
        assert str(error)
