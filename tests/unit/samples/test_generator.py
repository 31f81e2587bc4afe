"""The truth that the generator reports is checked by reading its files with nothing but a JSON decoder."""

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from pipelines.samples import REAL, UNKNOWN_MODEL, SampleTruth, Usage, generate


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleTruth:
    return generate(tmp_path_factory.mktemp("sample"), size_bytes=2_000_000, days=20)


def transcript_lines(truth: SampleTruth) -> list[dict]:
    lines = []
    for path in sorted(truth.folder.glob("projects/**/*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                lines.append(json.loads(line) | {"_path": str(path)})
            except json.JSONDecodeError:
                lines.append({"_broken": True, "type": "broken"})
    return lines


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        generate(tmp_path / name, size_bytes=200_000, days=3)
        files = sorted((tmp_path / name).rglob("*.jsonl"))
        contents.append([(str(f.relative_to(tmp_path / name)), f.read_bytes()) for f in files])
    assert contents[0] == contents[1]
    generate(tmp_path / "other", size_bytes=200_000, days=3, seed=1)
    assert {f.name for f in (tmp_path / "other").rglob("*.jsonl")}.isdisjoint(
        Path(name).name for name, _ in contents[0]
    )


def test_size_is_met_within_one_session(sample: SampleTruth) -> None:
    on_disk = sum(f.stat().st_size for f in sample.folder.rglob("*.jsonl"))
    assert on_disk == sample.bytes
    assert 2_000_000 <= on_disk < 2_150_000
    assert sample.files == len(list(sample.folder.rglob("*.jsonl")))


def test_tokens_counted_once_per_response_equal_the_truth(sample: SampleTruth) -> None:
    largest: dict[tuple[str, str], dict] = {}
    for line in transcript_lines(sample):
        message = line.get("message") or {}
        if line["type"] == "assistant" and message["model"] != "<synthetic>":
            key = (message["id"], line["requestId"])
            if message["usage"]["output_tokens"] >= largest.get(key, {"output_tokens": -1})["output_tokens"]:
                largest[key] = message["usage"]
    total = sample.total_usage()
    assert len(largest) == total.requests
    for field in ("input_tokens", "cache_read_input_tokens", "output_tokens"):
        assert sum(usage[field] for usage in largest.values()) == getattr(total, field.replace("read_input", "read"))
    assert (
        sum(u["cache_creation"]["ephemeral_5m_input_tokens"] for u in largest.values())
        == total.cache_creation_5m_tokens
    )
    assert (
        sum(u["cache_creation"]["ephemeral_1h_input_tokens"] for u in largest.values())
        == total.cache_creation_1h_tokens
    )
    assert total.cache_creation_5m_tokens > 0
    assert total.cache_creation_1h_tokens > 0


def test_naive_counting_of_lines_would_be_wrong(sample: SampleTruth) -> None:
    naive = sum(
        line["message"]["usage"]["output_tokens"] for line in transcript_lines(sample) if line["type"] == "assistant"
    )
    assert naive > 1.1 * sample.total_usage().output_tokens


def test_tool_uses_equal_the_truth(sample: SampleTruth) -> None:
    names: dict[str, str] = {}
    statuses: dict[str, str] = {}
    for line in transcript_lines(sample):
        content = (line.get("message") or {}).get("content")
        for block in content if isinstance(content, list) else []:
            if block["type"] == "tool_use":
                names[block["id"]] = block["name"]
            elif block["type"] == "tool_result":
                refused = "doesn't want to proceed" in block["content"]
                statuses[block["tool_use_id"]] = "rejected" if refused else "error" if block.get("is_error") else "ok"
    counted = Counter((name, statuses.get(tool_use_id, "unanswered")) for tool_use_id, name in names.items())
    truth: Counter[tuple[str, str]] = Counter()
    for key, count in sample.tool_calls.items():
        truth[key.tool, key.status] += count
    assert counted == truth
    assert {status for _, status in truth} == {"ok", "error", "rejected", "unanswered"}


def test_every_opening_line_is_in_the_truth(sample: SampleTruth) -> None:
    openings = set()
    for line in transcript_lines(sample):
        content = (line.get("message") or {}).get("content", "")
        flagged = line.get("isMeta") or line.get("isCompactSummary") or line.get("isSidechain")
        if (
            line["type"] == "user"
            and isinstance(content, str)
            and not flagged
            and not content.startswith("<bash-stdout>")
        ):
            openings.add(line.get("promptId") or line["uuid"])
        elif line.get("subtype") == "local_command" and line["content"].startswith("<command-name>"):
            openings.add(line["uuid"])
    assert len(openings) == sample.executions.total()
    assert set(sample.executions_by_status()) == {"completed", "failed", "cancelled", "pending"}


def test_stream_of_a_headless_run_sums_up_what_its_transcript_holds(sample: SampleTruth) -> None:
    results = 0
    for path in (sample.folder / "runs").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines[0]["subtype"] == "init"
        if lines[-1]["type"] != "result":
            continue
        results += 1
        transcript = next(sample.folder.glob(f"projects/*/{path.name}"))
        usages = {}
        for line in map(json.loads, transcript.read_text().splitlines()):
            if line["type"] == "assistant":
                usages[line["message"]["id"]] = line["message"]["usage"]
        (used,) = lines[-1]["modelUsage"].values()
        assert used["outputTokens"] == sum(usage["output_tokens"] for usage in usages.values())
        assert used["cacheReadInputTokens"] == sum(usage["cache_read_input_tokens"] for usage in usages.values())
    assert results > 0


def test_forks_repeat_the_lines_of_another_session(sample: SampleTruth) -> None:
    sessions: dict[str, set[str]] = {}
    for line in transcript_lines(sample):
        if "uuid" in line:
            sessions.setdefault(line["uuid"], set()).add(line["sessionId"])
    assert sum(len(ids) == 2 for ids in sessions.values()) > 50


def test_subagents_stand_in_files_of_their_own_and_inline_in_old_clients(sample: SampleTruth) -> None:
    sidechain = [line for line in transcript_lines(sample) if line.get("isSidechain")]
    assert any("/subagents/agent-" in line["_path"] for line in sidechain)
    assert any("/subagents/" not in line["_path"] and line["version"] == "1.0.108" for line in sidechain)


def test_days_models_and_projects_are_those_asked_for(tmp_path: Path) -> None:
    truth = generate(tmp_path, size_bytes=4_000_000, days=10, last_day=date(2026, 3, 1), projects=5)
    days = {key.activity_date for key in truth.executions} | {key.activity_date for key in truth.usage}
    assert min(days) >= date(2026, 2, 20)
    assert max(days) <= date(2026, 3, 1)
    assert len(days) == 10
    assert {key.project for key in truth.executions} == set(truth.projects)
    assert len(truth.projects) == 5
    assert truth.total_usage(model=UNKNOWN_MODEL).requests > 0
    assert sum((Counter({p: truth.total_usage(project=p).requests}) for p in truth.projects), Counter()).total() == (
        truth.total_usage().requests
    )


def test_secrets_broken_and_unknown_lines_are_planted_and_named(sample: SampleTruth) -> None:
    text = "\n".join(path.read_text() for path in sample.folder.rglob("*.jsonl"))
    assert sum(secret in text for secret in sample.secrets) >= 2
    lines = transcript_lines(sample)
    assert sum("_broken" in line for line in lines) == sample.broken_lines > 0
    assert sum(line["type"] == "workspace-beacon" for line in lines) == sample.unknown_lines.total() > 0


def test_large_samples_are_as_dense_as_real_transcripts(tmp_path: Path) -> None:
    truth = generate(tmp_path, size_bytes=30_000_000, texture=REAL)
    megabytes = truth.bytes / 1e6
    assert 40 <= truth.total_usage().requests / megabytes <= 60
    assert 50 <= truth.tool_calls.total() / megabytes <= 70
    assert 1_400 <= truth.bytes / truth.lines <= 2_200


def test_usage_of_nothing_is_zero() -> None:
    assert Usage().total_tokens == 0
