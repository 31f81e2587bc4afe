"""A headless run seen in its stream, in its result saved alone and in the session's transcript: one execution."""

import itertools
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import ingest
from pipelines.settings import Settings

SESSION = "5e551014-0000-4000-8000-00000000000a"
START = datetime(2026, 10, 5, 12, tzinfo=UTC)
MODEL = "claude-sonnet-4-6"
COLUMNS = "kind, status, execution_time_ms, total_tokens, round(cost_usd, 6), request_count"


def begun(number: int) -> datetime:
    """When the session was given its prompt of this number: it is resumed every ten minutes."""
    return START + timedelta(minutes=10 * number)


def answer(number: int) -> dict[str, Any]:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 1000 * number, "output_tokens": 10}
    text = [{"type": "text", "text": "done"}]
    return {"id": f"msg_{number}", "role": "assistant", "model": MODEL, "content": text, "usage": usage}


def result(number: int, **fields: Any) -> dict[str, Any]:
    """What ``claude -p --output-format json`` prints: the answer's usage and that of a call in the background."""
    main = {"inputTokens": 5, "outputTokens": 10, "cacheReadInputTokens": 1000 * number, "costUSD": 0.01 * number}
    usage = {MODEL: main, "claude-haiku-4-5": {"inputTokens": 7, "outputTokens": 1, "costUSD": 0.001}}
    line = {"type": "result", "subtype": "success", "is_error": False, "session_id": SESSION, "duration_ms": 60_000}
    of_run = {"uuid": f"0000000{number}-0000-4000-8000-00000000000f", "total_cost_usd": 0.01 * number + 0.001}
    return line | of_run | {"modelUsage": usage, "result": "done"} | fields


def reported(number: int) -> int:
    return 5 + 10 + 1000 * number + 7 + 1


def written(path: Path, lines: Iterable[dict[str, Any]], at: datetime | None = None) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    if at is not None:
        os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def result_file(folder: Path, number: int, at: datetime | None = None, **fields: Any) -> Path:
    return written(folder / f"result-{number}.json", [result(number, **fields)], at)


def stream_lines(number: int, **fields: Any) -> list[dict[str, Any]]:
    init = {"type": "system", "subtype": "init", "cwd": "/src/shop", "model": MODEL, "claude_code_version": "2.1.143"}
    message = {"type": "assistant", "message": answer(number), "uuid": f"1000000{number}-0000-4000-8000-00000000000f"}
    return [init | {"session_id": SESSION} | fields, message | {"session_id": SESSION}, result(number)]


def stream(folder: Path, number: int, at: datetime | None = None) -> Path:
    return written(folder / f"stream-{number}.jsonl", stream_lines(number), at)


def transcript(folder: Path, *numbers: int) -> Path:
    common = {"sessionId": SESSION, "cwd": "/src/shop", "version": "2.1.143", "isSidechain": False}
    lines = []
    for number in numbers:
        moment = begun(number)
        asked = {
            "type": "user",
            "uuid": f"2000000{number}-0000-4000-8000-00000000000f",
            "timestamp": f"{moment:%FT%TZ}",
        }
        replied = {
            "type": "assistant",
            "uuid": f"reply-{number}",
            "timestamp": f"{moment + timedelta(seconds=50):%FT%TZ}",
        }
        lines.append(common | asked | {"message": {"role": "user", "content": f"prompt {number}"}})
        lines.append(common | replied | {"requestId": f"req_{number}", "message": answer(number)})
    return written(folder / f"{SESSION}.jsonl", lines)


def load(settings: Settings, *paths: Path, project: str = "shop") -> None:
    ingest.run(paths, dsn=settings.database_url, settings=settings, jobs=1, project=project)


def executions(connection: psycopg.Connection, columns: str = COLUMNS) -> list[tuple[Any, ...]]:
    return connection.execute(f"select {columns} from raw.command_executions order by total_tokens").fetchall()  # type: ignore[arg-type]


def loaded_again_changes_nothing(settings: Settings, connection: psycopg.Connection, *paths: Path) -> None:
    before = executions(connection, "*")
    requests = connection.execute("select * from raw.model_requests order by request_key").fetchall()
    for path in paths:
        connection.execute("delete from ops.ingest_files")
        connection.commit()
        load(settings, path)
    connection.execute("delete from ops.ingest_files")
    connection.commit()
    load(settings, *paths)
    assert executions(connection, "*") == before
    assert connection.execute("select * from raw.model_requests order by request_key").fetchall() == requests


@pytest.mark.parametrize("is_late", [False, True], ids=["times kept", "times lost"])
@pytest.mark.parametrize("groups", ["transcript result", "result transcript", "transcript+result"])
def test_a_result_saved_alone_and_its_transcript_are_one_execution(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, groups: str, is_late: bool
) -> None:
    at = begun(1) + timedelta(days=9 if is_late else 0, seconds=61)
    files = {"transcript": transcript(tmp_path, 1), "result": result_file(tmp_path, 1, at)}
    for group in groups.split():
        load(settings, *(files[name] for name in group.split("+")))
    assert [
        (kind, status, tokens, float(cost), requests)
        for kind, status, _, tokens, cost, requests in executions(connection)
    ] == [("prompt", "completed", reported(1), 0.011, 1)]
    assert connection.execute("select sources, command_raw from raw.command_executions").fetchone() == (
        ["claude_code", "stream_json"], "prompt 1",
    )  # fmt: skip
    loaded_again_changes_nothing(settings, connection, *files.values())


@pytest.mark.parametrize("order", ["transcript result", "result transcript", "stream result", "result stream"])
def test_a_result_that_does_not_name_its_model_reports_the_usage_of_the_main_one(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, order: str
) -> None:
    usage = {"input_tokens": 6, "cache_read_input_tokens": 1000, "output_tokens": 30}
    older = {"modelUsage": None, "usage": usage, "total_cost_usd": 0.02}
    lines = [*stream_lines(1)[:2], result(1, **older)]
    files = {
        "transcript": transcript(tmp_path, 1), "result": result_file(tmp_path, 1, **older),
        "stream": written(tmp_path / "stream.jsonl", lines),
    }  # fmt: skip
    for name in order.split():
        load(settings, files[name])
    assert executions(connection, "total_tokens, cost_usd::float, model_version") == [(1036, 0.02, MODEL)]
    loaded_again_changes_nothing(settings, connection, *(files[name] for name in order.split()))


SIGHTS = ("transcript", "stream", "result")


@pytest.mark.parametrize("order", [*itertools.permutations(SIGHTS), ("+".join(SIGHTS),)], ids="-".join)
def test_three_sights_of_one_run_are_one_execution(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, order: tuple[str, ...]
) -> None:
    at = begun(1) + timedelta(seconds=61)
    files = {
        "transcript": transcript(tmp_path, 1), "stream": stream(tmp_path, 1, at), "result": result_file(tmp_path, 1, at)
    }  # fmt: skip
    for group in order:
        load(settings, *(files[name] for name in group.split("+")))
    [(kind, status, _, tokens, cost, requests)] = executions(connection)
    assert (kind, status, tokens, float(cost), requests) == ("prompt", "completed", reported(1), 0.011, 1)
    loaded_again_changes_nothing(settings, connection, *files.values())


@pytest.mark.parametrize("later", [0, 600], ids=["at once", "saved later"])
@pytest.mark.parametrize("order", ["stream result", "result stream", "stream+result"])
def test_a_stream_and_its_own_result_are_one_run_that_keeps_its_folder(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, order: str, later: int
) -> None:
    at = begun(1) + timedelta(seconds=61)
    files = {"stream": stream(tmp_path, 1, at), "result": result_file(tmp_path, 1, at + timedelta(seconds=later))}
    for group in order.split():
        load(settings, *(files[name] for name in group.split("+")))
    [(kind, status, duration, tokens, cost, requests)] = executions(connection)
    assert (kind, status, duration) == ("run", "completed", 60_000)
    assert (tokens, float(cost), requests) == (reported(1), 0.011, 1)
    assert connection.execute("select workspace_context ->> 'cwd' from raw.command_executions").fetchone() == (
        "/src/shop",
    )
    loaded_again_changes_nothing(settings, connection, *files.values())


@pytest.mark.parametrize("is_late", [False, True], ids=["times kept", "times lost"])
@pytest.mark.parametrize("order", ["t 1+2+3", "1+2+3 t", "3 t 1 2", "2 1 t 3", "t 2 3 1", "t+1+2+3"])
def test_each_result_of_a_resumed_session_joins_the_prompt_that_it_answers(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, order: str, is_late: bool
) -> None:
    files = {"t": transcript(tmp_path, 1, 2, 3)}
    for number in (1, 2, 3):
        at = START + timedelta(days=9) if is_late else begun(number) + timedelta(seconds=61)
        files[str(number)] = result_file(tmp_path, number, at)
    for group in order.split():
        load(settings, *(files[name] for name in group.split("+")))
    assert executions(connection, "command_raw, total_tokens, round(cost_usd, 6)::float") == [
        (f"prompt {number}", reported(number), pytest.approx(0.01 * number + 0.001)) for number in (1, 2, 3)
    ]
    loaded_again_changes_nothing(settings, connection, *files.values())


def test_results_and_streams_of_a_resumed_session_find_each_other(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    at = {number: begun(number) + timedelta(seconds=61) for number in (1, 2)}
    load(settings, result_file(tmp_path, 1, at[1]), result_file(tmp_path, 2, at[2]))
    assert executions(connection, "kind, total_tokens") == [("run", reported(1)), ("run", reported(2))]
    load(settings, stream(tmp_path, 2, at[2]), stream(tmp_path, 1, at[1]))
    load(settings, transcript(tmp_path, 1, 2, 3))
    assert executions(connection, "command_raw, total_tokens") == [
        ("prompt 1", reported(1)), ("prompt 2", reported(2)), ("prompt 3", 3015),
    ]  # fmt: skip


def test_a_prompt_that_comes_when_the_session_is_resumed_takes_its_own_result(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load(settings, transcript(tmp_path, 1))
    load(settings, result_file(tmp_path, 1), result_file(tmp_path, 2))
    load(settings, transcript(tmp_path, 1, 2))
    assert executions(connection, "command_raw, total_tokens") == [("prompt 1", reported(1)), ("prompt 2", reported(2))]


def test_a_result_of_another_session_or_project_joins_nothing(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    load(settings, transcript(tmp_path, 1))
    load(settings, result_file(tmp_path, 1, session_id="another"))
    load(settings, result_file(tmp_path, 1), project="other")
    found = sorted(executions(connection, "kind, project_id"))
    assert found == [("prompt", "shop"), ("run", "other"), ("run", "shop")]


@pytest.mark.parametrize("lines_first", [1, 2])
@pytest.mark.parametrize("uuid", [None, "30000001-0000-4000-8000-00000000000f"])
def test_a_stream_read_while_the_run_goes_on_is_one_execution(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, uuid: str | None, lines_first: int
) -> None:
    lines = stream_lines(1, **({"uuid": uuid} if uuid else {}))
    path = tmp_path / "stream.jsonl"
    load(settings, written(path, lines[:lines_first]))
    load(settings, written(path, lines))
    assert executions(connection, "kind, status, total_tokens") == [("run", "completed", reported(1))]


def test_a_run_that_had_only_begun_when_it_was_read_is_that_of_the_transcript(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    lines = stream_lines(1, uuid="30000001-0000-4000-8000-00000000000f")
    path = tmp_path / "stream.jsonl"
    load(settings, written(path, lines[:1], begun(1) + timedelta(seconds=1)))
    load(settings, transcript(tmp_path, 1, 2))
    load(settings, written(path, lines, begun(1) + timedelta(seconds=61)))
    assert executions(connection, "command_raw, status, total_tokens") == [
        ("prompt 1", "completed", reported(1)), ("prompt 2", "completed", 2015),
    ]  # fmt: skip
