"""Files → raw tables: everything once, whatever is read in whatever order and however often."""

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard

from pipelines import ingest, samples
from pipelines.ingest import worker
from pipelines.settings import Settings
from tests import oracle, warehouse


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> samples.SampleTruth:
    """A small generated folder and the truth about it."""
    return samples.generate(tmp_path_factory.mktemp("sample"), days=20, size_bytes=1_500_000)


def run(settings: Settings, *paths: Path, **options: Any) -> ingest.IngestReport:
    return ingest.run(paths, dsn=settings.database_url, settings=settings, **{"jobs": 1, **options})


class Transcript:
    """A session written line by line, as the client does."""

    def __init__(self, path: Path, session: str = "s-1", cwd: str = "/src/shop") -> None:
        self.path, self.session, self.cwd = path, session, cwd
        self.clock = datetime(2026, 10, 5, 12, tzinfo=UTC)
        self.count = 0
        path.parent.mkdir(parents=True, exist_ok=True)

    def line(self, **fields: Any) -> dict[str, Any]:
        self.count += 1
        self.clock += timedelta(seconds=1)
        return {
            "uuid": f"{self.session}-{self.count}",
            "sessionId": self.session,
            "cwd": self.cwd,
            "timestamp": self.clock.isoformat().replace("+00:00", "Z"),
            "version": "2.1.97",
            "isSidechain": False,
            **fields,
        }

    def write(self, *lines: dict[str, Any] | bytes) -> None:
        with self.path.open("ab") as stream:
            for line in lines:
                stream.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")

    def prompt(self, text: str, **fields: Any) -> None:
        self.write(self.line(type="user", message={"role": "user", "content": text}, **fields))

    def answer(self, message_id: str, output_tokens: int = 10, model: str = "claude-sonnet-4-6", **fields: Any) -> None:
        usage = {
            "input_tokens": 5,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 1000,
            "output_tokens": output_tokens,
            "cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60},
        }
        message = {
            "id": message_id,
            "role": "assistant",
            "model": model,
            "content": [{"type": "text", "text": "done"}],
            "stop_reason": "end_turn",
            "usage": usage,
        }
        self.write(self.line(type="assistant", message=message, requestId=f"req_{message_id}", **fields))


def test_each_response_tool_use_and_command_is_stored_once(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth
) -> None:
    report = run(settings, sample.folder)
    assert warehouse.responses(connection) == oracle.responses(sample.folder)
    assert warehouse.tool_uses(connection) == oracle.tool_uses(sample.folder)
    assert warehouse.executions_by_status(connection) == sample.executions_by_status()
    per_day = connection.execute(
        "select project_id, (timestamp at time zone 'UTC')::date, model, count(*), sum(input_tokens), "
        "sum(cache_creation_5m_tokens), sum(cache_creation_1h_tokens), sum(cache_read_tokens), sum(output_tokens), "
        "sum(web_search_requests) from raw.model_requests where kind = 'response' group by 1, 2, 3"
    ).fetchall()
    assert {tuple(row[:3]): tuple(map(int, row[3:])) for row in per_day} == {
        tuple(key): tuple(vars(usage).values()) for key, usage in sample.usage.items()
    }
    warehouse.assert_totals_add_up(connection)
    assert report.quarantined == sample.broken_lines
    assert report.unknown_lines == sample.unknown_lines


def test_ingesting_again_changes_nothing(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth, tmp_path: Path
) -> None:
    run(settings, sample.folder)
    before = warehouse.contents(connection)
    connection.commit()
    again = run(settings, sample.folder)
    assert again.files_by_state == {"unchanged": again.files}
    shutil.copytree(sample.folder, tmp_path / "copy")
    copied = run(settings, tmp_path / "copy")
    assert not any(counts.inserted or counts.updated for counts in copied.records.values())
    assert warehouse.contents(connection) == before


def test_the_order_of_files_does_not_matter(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth
) -> None:
    files = ingest.discover([sample.folder])
    random.Random(7).shuffle(files)
    for start in range(0, len(files), 5):
        run(settings, *files[start : start + 5])
    assert warehouse.responses(connection) == oracle.responses(sample.folder)
    assert warehouse.tool_uses(connection) == oracle.tool_uses(sample.folder)
    assert warehouse.executions_by_status(connection) == sample.executions_by_status()
    warehouse.assert_totals_add_up(connection)


def test_several_processes_at_once_store_everything_once(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth
) -> None:
    program = (
        "import sys; from pathlib import Path; from pipelines import ingest, settings; s = settings.load(); "
        "ingest.run([Path(sys.argv[1])], dsn=s.database_url, settings=s, jobs=1)"
    )
    environment = {
        **os.environ,
        "TRACEMILL_DATABASE_URL": settings.database_url or "",
        "TRACEMILL_HOME": str(settings.home),
        "TRACEMILL_REDACTION_KEY": "key of the tests",
        "TRACEMILL_DEVICE_ID": "test-device",
    }
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(sample.folder)], env=environment, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert warehouse.responses(connection) == oracle.responses(sample.folder)
    assert warehouse.tool_uses(connection) == oracle.tool_uses(sample.folder)
    assert warehouse.executions_by_status(connection) == sample.executions_by_status()
    warehouse.assert_totals_add_up(connection)


def test_a_file_that_grows_ends_like_one_read_at_once(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth, tmp_path: Path
) -> None:
    largest = max((sample.folder / "projects").rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    grown = tmp_path / "grown" / largest.name
    grown.parent.mkdir()
    cuts = sorted(random.Random(3).sample(range(len(content)), 12))
    for cut in [*cuts, len(content)]:
        grown.write_bytes(content[:cut])
        run(settings, grown, project="grown")
    run(settings, largest, project="whole")
    ignored = {"ingested_at", "updated_at", "project_id", "source_file_key"}
    for table in warehouse.TABLES:
        rows = {}
        for project in ("grown", "whole"):
            connection.execute(
                "create temp view one as select * from raw." + table + f" where project_id = '{project}'"
            )
            columns = [
                name
                for (name,) in connection.execute(
                    "select attname from pg_attribute where attrelid = 'one'::regclass order by attnum"
                )
                if name not in ignored
            ]
            rows[project] = sorted(connection.execute(f"select {', '.join(columns)} from one").fetchall(), key=repr)
            connection.execute("drop view one")
        assert rows["grown"] == rows["whole"], table


def test_a_torn_last_line_waits_for_its_end(settings: Settings, connection: psycopg.Connection, tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    transcript.prompt("one")
    transcript.answer("msg_1")
    line = json.dumps(transcript.line(type="user", message={"role": "user", "content": "two"})).encode()
    transcript.write(line[:40])
    assert run(settings, transcript.path).quarantined == 0
    assert connection.execute("select count(*) from raw.command_executions").fetchone() == (1,)
    connection.commit()
    transcript.write(line[40:] + b"\n")
    run(settings, transcript.path)
    assert connection.execute("select count(*) from raw.command_executions").fetchone() == (2,)


def test_a_replaced_or_truncated_file_is_read_from_its_start(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    for number in range(3):
        transcript.prompt(f"prompt {number}")
        transcript.answer(f"msg_{number}")
    run(settings, transcript.path)
    lines = transcript.path.read_bytes().splitlines(keepends=True)
    transcript.path.write_bytes(b"".join(lines[:4]))
    assert run(settings, transcript.path).files_by_state["truncated"] == 1
    transcript.path.unlink()
    other = Transcript(transcript.path, session="another session of quite another length")
    other.prompt("something else, and more of it than there was before: " + "word " * 500)
    other.answer("msg_9")
    assert run(settings, transcript.path).files_by_state["replaced"] == 1
    assert connection.execute("select count(*) from raw.command_executions").fetchone() == (4,)
    assert connection.execute("select count(*) from raw.model_requests").fetchone() == (4,)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_compressed_logs_are_read_like_plain_ones(
    compress: Any, settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth, tmp_path: Path
) -> None:
    source = next((sample.folder / "projects").rglob("*.jsonl"))
    packed = tmp_path / "packed.log"
    packed.write_bytes(compress(source.read_bytes()))
    run(settings, packed)
    folder = tmp_path / "plain"
    folder.mkdir()
    shutil.copy(source, folder)
    assert warehouse.responses(connection) == oracle.responses(folder)


def test_a_cut_gzip_file_is_named_and_what_precedes_the_cut_is_stored(
    settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth, tmp_path: Path
) -> None:
    source = max((sample.folder / "projects").rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    packed = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress(source.read_bytes())
    packed.write_bytes(whole[: len(whole) // 2])
    report = run(settings, packed)
    assert [problem.path for problem in report.problems] == [str(packed)]


@pytest.mark.parametrize(
    "compress", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress], ids=["gzip", "zstd"]
)
def test_a_damaged_compressed_file_is_named_and_the_others_are_stored(
    compress: Any, settings: Settings, connection: psycopg.Connection, sample: samples.SampleTruth, tmp_path: Path
) -> None:
    source = max((sample.folder / "projects").rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    packed = bytearray(compress(source.read_bytes() + random.Random(5).randbytes(3_000_000).hex().encode()))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    (tmp_path / "damaged.jsonl").write_bytes(packed)
    sound = Transcript(tmp_path / "sound.jsonl")
    sound.prompt("one")
    report = run(settings, tmp_path)
    assert str(tmp_path / "damaged.jsonl") in {problem.path for problem in report.problems}
    assert connection.execute("select count(*) from raw.command_executions where command_raw = 'one'").fetchone() == (
        1,
    )


def test_what_the_database_refuses_is_not_passed_over(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BATCH_BYTES", 1)
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    padding = transcript.line(type="progress", data={"text": "x" * 9_000_000})
    for number in range(3):
        transcript.prompt(f"prompt {number}")
        transcript.answer(f"msg_{number}")
        transcript.write(padding)
    connection.execute(
        "alter table raw.command_executions add constraint refuses check (command_raw <> 'prompt 1') not valid"
    )
    connection.commit()
    refused = run(settings, transcript.path)
    assert [problem.reason for problem in refused.problems] == ["refused"]
    connection.execute("alter table raw.command_executions drop constraint refuses")
    connection.commit()
    run(settings, transcript.path)
    assert connection.execute("select command_raw from raw.command_executions order by timestamp").fetchall() == [
        ("prompt 0",),
        ("prompt 1",),
        ("prompt 2",),
    ]


def test_work_of_a_subagent_goes_to_its_command_also_when_its_file_comes_first(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    parent = Transcript(tmp_path / "projects" / "-src-shop" / "s-1.jsonl")
    agent = Transcript(tmp_path / "projects" / "-src-shop" / "s-1" / "subagents" / "agent-7.jsonl")
    parent.prompt("delegate this")
    parent.answer("msg_parent")
    agent.clock = parent.clock
    agent.write(agent.line(type="user", agentId="7", isSidechain=True, message={"role": "user", "content": "sub task"}))
    agent.answer("msg_agent", agentId="7", isSidechain=True)
    run(settings, agent.path)
    assert connection.execute(
        "select kind, request_count, execution_time_ms from raw.command_executions"
    ).fetchall() == [("orphan", 1, None)]
    connection.commit()
    run(settings, parent.path)
    assert connection.execute(
        "select kind, project_id, request_count, total_tokens from raw.command_executions"
    ).fetchall() == [("prompt", "shop", 2, 2 * 1115)]


def test_costs_follow_the_price_of_each_kind_of_token(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    transcript.prompt("priced and unpriced")
    transcript.answer("msg_1", output_tokens=10)
    transcript.answer("msg_2", output_tokens=20, model="a-model-nobody-sells")
    run(settings, transcript.path)
    per_million = 3 * 5 + 3.75 * 40 + 6 * 60 + 0.3 * 1000 + 15 * 10
    assert connection.execute(
        "select model, round(cost_usd * 1000000, 6), cost_status from raw.model_requests order by model"
    ).fetchall() == [("a-model-nobody-sells", None, "unpriced"), ("claude-sonnet-4-6", per_million, "computed")]
    assert connection.execute(
        "select round(cost_usd * 1000000, 6), cost_status, round(cache_hit_rate::numeric, 3) "
        "from raw.command_executions"
    ).fetchone() == (per_million, "partial", Decimal("90.498"))
    (savings,) = connection.execute("select cache_savings_usd * 1000000 from raw.command_executions").fetchone()
    assert savings == pytest.approx(2.7 * 1000 - 0.75 * 40 - 3 * 60)


def test_a_bad_line_is_quarantined_with_its_place_and_its_neighbours_are_stored(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    transcript.prompt("one")
    offset = transcript.path.stat().st_size
    transcript.write(b'{"type": "user", "broken\n')
    transcript.answer("msg_1")
    report = run(settings, transcript.path)
    assert (report.quarantined, report.has_problems) == (1, True)
    assert report.problems[0].line == 2
    assert connection.execute(
        "select path, line_number, byte_offset, source, project_id from ops.quarantined_records"
    ).fetchall() == [(str(transcript.path), 2, offset, "claude_code", "shop")]
    assert connection.execute("select status from raw.command_executions").fetchall() == [("completed",)]


def test_a_record_from_another_age_is_quarantined_and_its_neighbours_are_stored(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    transcript.prompt("now")
    transcript.answer("msg_1")
    transcript.clock = datetime(2126, 1, 1, tzinfo=UTC)
    transcript.prompt("in a hundred years")
    assert run(settings, transcript.path).quarantined == 1
    assert connection.execute("select command_raw from raw.command_executions").fetchall() == [("now",)]
    assert connection.execute("select reason from ops.quarantined_records").fetchall() == [("timestamp_out_of_range",)]
    warehouse.assert_totals_add_up(connection)


def test_a_number_of_tokens_that_cannot_be_is_quarantined(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    transcript.prompt("one")
    transcript.answer("msg_1", output_tokens=-5)
    transcript.answer("msg_2", output_tokens=10**15)
    transcript.answer("msg_3")
    assert run(settings, transcript.path).quarantined == 2
    assert connection.execute("select message_id from raw.model_requests").fetchall() == [("msg_3",)]


def test_the_project_comes_from_the_option_the_mapping_or_the_directory(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "a.jsonl", cwd="/src/My Shop!")
    transcript.prompt("one")
    run(settings, transcript.path)
    run(settings, transcript.path, project="named")
    mapped = replace(settings, project_prefixes={"/src": "mapped", "/srcery": "wrong"}, device_id="another")
    run(mapped, transcript.path)
    assert {row[0] for row in connection.execute("select project_id from app.project_config")} == {
        "my-shop",
        "named",
        "mapped",
    }
    with pytest.raises(ingest.BadProject, match="lower-case"):
        run(settings, transcript.path, project="No Such Thing")


def test_late_lines_put_their_day_on_the_list_of_days_to_aggregate(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    transcript = Transcript(tmp_path / "shop" / "a.jsonl")
    transcript.prompt("one")
    run(settings, transcript.path)
    assert connection.execute("delete from ops.touched_days returning activity_date::text").fetchall() == [
        ("2026-10-05",)
    ]
    connection.commit()
    run(settings, transcript.path)
    assert connection.execute("select count(*) from ops.touched_days").fetchone() == (0,)
    connection.commit()
    transcript.answer("msg_1")
    run(settings, transcript.path)
    assert connection.execute("select activity_date::text from ops.touched_days").fetchall() == [("2026-10-05",)]
