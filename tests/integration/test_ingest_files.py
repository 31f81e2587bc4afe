"""Which files an ingest finds and which project each belongs to, whatever lies beside it and however it is called."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard
from source_files import Transcript, text

from pipelines import ingest
from pipelines.cli.ingest import describe
from pipelines.cli.output import encode_json
from pipelines.ingest import worker
from pipelines.ingest.pending import pending
from pipelines.settings import Settings
from pipelines.sources import documents


def run(settings: Settings, *paths: Path, **options: Any) -> ingest.IngestReport:
    return ingest.run(paths, dsn=settings.database_url, settings=settings, **{"jobs": 1, **options})


def commands(connection: psycopg.Connection) -> list[str]:
    return [command for (command,) in connection.execute("select command_raw from raw.command_executions order by 1")]


@pytest.fixture
def latin_folder(tmp_path: Path) -> Path:
    """A folder whose name is not UTF-8, with a log in it that is called in the same way."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/logs/M\xfcller"))
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    (folder / os.fsdecode(b"caf\xe9.jsonl")).write_bytes(bytes(Transcript(cwd=None).user("Go")) + b"{broken\n")
    return folder


def test_a_log_and_a_folder_whose_names_are_not_utf_8_are_ingested_and_shown(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, latin_folder: Path
) -> None:
    (tmp_path / "logs" / "plain.jsonl").write_bytes(bytes(Transcript("s-2").user("Stop")))
    report = run(settings, tmp_path / "logs")
    assert commands(connection) == ["Go", "Stop"]
    shown = f"{tmp_path}/logs/M\ufffdller/caf\ufffd.jsonl"
    assert {path for (path,) in connection.execute("select path from ops.ingest_files")} == {
        shown,
        f"{tmp_path}/logs/plain.jsonl",
    }
    assert [problem.path for problem in report.problems] == [shown]
    assert f"{shown}:2:" in describe(report).encode().decode()
    assert shown in encode_json(report.to_json())
    connection.commit()
    assert run(settings, tmp_path / "logs").files_by_state == {"unchanged": 2}


def test_a_document_whose_name_is_not_utf_8_is_loaded_under_the_name_that_is_shown(
    settings: Settings, connection: psycopg.Connection, latin_folder: Path
) -> None:
    program = {"predict": {"signature": {"instructions": "Answer.", "fields": []}, "demos": [], "traces": []}}
    metadata = {"metadata": {"dependency_versions": {"dspy": "3.0"}}}
    (latin_folder / os.fsdecode(b"pr\xfcfung.json")).write_text(json.dumps({**program, **metadata}))
    report = run(settings, latin_folder)
    assert {problem.path.rpartition("/")[2] for problem in report.problems} == {"caf\ufffd.jsonl"}
    assert connection.execute("select run_name from raw.optimization_runs").fetchall() == [("pr\ufffdfung",)]


def test_a_folder_of_no_logs_whose_name_is_not_utf_8_is_told(settings: Settings, latin_folder: Path) -> None:
    for log in latin_folder.iterdir():
        log.unlink()
    report = run(settings, latin_folder)
    assert [problem.reason for problem in report.problems] == ["no_logs"]
    assert "M\ufffdller holds no files" in describe(report).encode().decode()


def test_a_link_to_itself_is_told_and_the_logs_beside_it_are_ingested(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "logs"
    (folder / "shop").mkdir(parents=True)
    (folder / "latest").symlink_to("latest")
    (folder / "shop" / "a.jsonl").write_bytes(bytes(Transcript().user("Go")))
    report = run(settings, folder)
    assert commands(connection) == ["Go"]
    (problem,) = report.problems
    assert problem.path == f"{folder}/latest"
    assert problem.detail.startswith(f"{folder}/latest cannot be looked at: Too many levels of symbolic links;")


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), FileNotFoundError(2, "No such file")])
def test_a_folder_that_cannot_be_listed_is_told_and_the_logs_beside_it_are_ingested(
    error: OSError,
    settings: Settings,
    connection: psycopg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "logs"
    (folder / "closed").mkdir(parents=True)
    (folder / "open.jsonl").write_bytes(bytes(Transcript().user("Go")))
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise error
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = run(settings, folder)
    assert commands(connection) == ["Go"]
    assert [problem.path for problem in report.problems] == [f"{folder}/closed"]
    assert error.strerror in report.problems[0].detail
    connection.commit()
    with pytest.raises(ingest.Unreadable, match="closed cannot be listed"):
        pending([folder], dsn=settings.database_url or "", settings=settings)


def test_a_secret_in_the_name_of_what_cannot_be_looked_at_is_not_told(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    token = "ghp_" + "wQ7rT2yU9iOpA4sDfG6hJkL1zXcV8bN3mE5t"
    (tmp_path / "logs" / token).symlink_to(token)
    report = run(settings, tmp_path / "logs")
    assert len(report.problems) == 1
    assert token not in str(report.problems)


def test_a_log_that_vanishes_after_it_was_found_is_told_and_the_others_are_ingested(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "gone.json").write_text('{"some": "document"}')
    (folder / "log.jsonl").write_bytes(bytes(Transcript().user("Go")))

    def identify(path: Path, head: bytes) -> str | None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(documents, "identify", identify)
    report = run(settings, folder)
    assert commands(connection) == ["Go"]
    assert [problem.path for problem in report.problems] == [f"{folder}/gone.json"]


@pytest.mark.parametrize("end", [".gz", ".zst"])
def test_compressed_logs_of_a_session_and_its_subagent_belong_to_one_project(
    end: str, settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    session, agent = tmp_path / "S1.jsonl", tmp_path / "S1" / "subagents" / "agent-a1.jsonl"
    agent.parent.mkdir(parents=True)
    session.write_bytes(bytes(Transcript("s-1", cwd="/src/shop").user("Go").assistant(text("done"))))
    of_agent = Transcript("s-1", cwd="/src/shop/api", agentId="a1", isSidechain=True)
    agent.write_bytes(bytes(of_agent.user("Look").assistant(text("seen"), id="msg_2", request="req_2")))
    expected = [("shop", "prompt", 2)]
    projects = "select project_id, kind, request_count from raw.command_executions"
    run(settings, tmp_path)
    assert connection.execute(projects).fetchall() == expected
    connection.commit()
    compress = gzip.compress if end == ".gz" else zstandard.ZstdCompressor().compress
    for path in (session, agent):
        path.with_name(path.name + end).write_bytes(compress(path.read_bytes()))
    run(settings, tmp_path)
    assert connection.execute(projects).fetchall() == expected
    connection.commit()
    for path in (session, agent):
        path.unlink()
    agent.with_name(agent.name + end).rename(agent.with_name("agent-b.jsonl" + end))
    run(settings, tmp_path)
    assert connection.execute(projects).fetchall() == expected


def growing(count: int) -> list[str]:
    session = Transcript("s-1", cwd="/home/ann/shop")
    for number in range(count):
        session.user(f"prompt {number:02} " + "word " * 60)
        session.assistant(text("done"), id=f"msg_{number}", request=f"req_{number}")
    return [f"{line}\n" for line in session.lines]


def test_a_log_rewritten_in_place_is_read_from_its_start_though_it_begins_as_before_and_has_grown(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "s-1.jsonl"
    lines = growing(19)
    log.write_text("".join(lines[:30]))
    run(settings, log)
    assert len("".join(lines[:20])) > 4096
    log.write_text("".join([*lines[:20], *lines[26:30], *lines[30:37]]))
    report = run(settings, log)
    assert report.files_by_state == {"replaced": 1}
    assert (report.quarantined, report.problems) == (0, [])
    assert [command[:9] for command in commands(connection)] == [f"prompt {number:02}" for number in range(19)]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_log_that_has_grown_is_read_on_from_where_it_was_left(
    is_known: bool, settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "s-1.jsonl"
    lines = growing(19)
    log.write_text("".join(lines[:29]) + lines[29][:50])
    run(settings, log)
    if not is_known:
        connection.execute("update ops.ingest_files set tail_key = null")
        connection.commit()
    log.write_text("".join(lines))
    report = run(settings, log)
    assert report.files_by_state == {"grown": 1}
    assert report.good_lines < 15
    assert len(commands(connection)) == 19
    connection.commit()
    log.write_text("".join(growing(20)))
    assert run(settings, log).files_by_state == {"grown": 1}


def test_a_log_that_was_read_in_parts_goes_on_after_the_last_one(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BATCH_BYTES", 1)
    log = tmp_path / "s-1.jsonl"
    lines = growing(19)
    lines.insert(20, json.dumps({"type": "progress", "data": {"text": "x" * 9_000_000}}) + "\n")
    log.write_text("".join(lines[:30]))
    run(settings, log)
    log.write_text("".join(lines))
    assert run(settings, log).files_by_state == {"grown": 1}
    assert len(commands(connection)) == 19


def test_a_log_that_has_grown_and_was_compressed_anew_is_read_on(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "s-1.jsonl.gz"
    lines = growing(19)
    log.write_bytes(gzip.compress("".join(lines[:30]).encode()))
    run(settings, log)
    log.write_bytes(gzip.compress("".join(lines).encode()))
    assert run(settings, log).files_by_state == {"grown": 1}
    assert len(commands(connection)) == 19


def test_a_rewritten_log_keeps_the_project_of_its_rows(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "s-1.jsonl"
    log.parent.mkdir()
    session = Transcript("s-1", cwd=None)
    for number in range(20):
        session.user(f"prompt {number} " + "word " * 60)
    lines = [f"{line}\n" for line in session.lines]
    log.write_text("".join(lines))
    run(settings, log)
    session.user("in a folder", cwd="/home/ann/shop")
    rewritten = [*lines[:15], *lines[17:], *(f"{line}\n" for line in session.lines[20:]), *growing(2)]
    log.write_text("".join(rewritten))
    assert run(settings, log).files_by_state == {"replaced": 1}
    assert {row[0] for row in projects_of_rows(connection)} == {"logs"}


SNAPSHOT = {"type": "file-history-snapshot", "messageId": "m-1", "snapshot": {"trackedFileBackups": {}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD" * 80_000}}


def projects_of_rows(connection: psycopg.Connection) -> list[Any]:
    return connection.execute(
        "select project_id, kind, request_count from raw.command_executions order by 1"
    ).fetchall()


def test_a_session_just_begun_gets_its_project_from_the_directory_it_names_later(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "projects" / "-home-ann-shop" / "s-1.jsonl"
    log.parent.mkdir(parents=True)
    session = Transcript("s-1", cwd="/home/ann/shop").line(**SNAPSHOT)
    log.write_bytes(bytes(session) + b"{broken\n")
    run(settings, log)
    assert connection.execute("select source, project_id from ops.ingest_files").fetchall() == [("claude_code", None)]
    assert connection.execute("select project_id from ops.quarantined_records").fetchall() == [(None,)]
    assert connection.execute("select project_id from app.project_config").fetchall() == []
    connection.commit()
    with log.open("ab") as stream:
        stream.write(bytes(Transcript("s-1", cwd="/home/ann/shop").user("Go").assistant(text("done"))))
    run(settings, log)
    assert projects_of_rows(connection) == [("shop", "prompt", 1)]
    assert connection.execute("select project_id from ops.ingest_files").fetchall() == [("shop",)]
    assert connection.execute("select project_id from app.project_config").fetchall() == [("shop",)]


def test_a_line_longer_than_what_is_looked_at_first_names_the_directory_too(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "projects" / "-home-ann-shop" / "s-1.jsonl"
    agent = log.parent / "s-1" / "subagents" / "agent-a1.jsonl"
    agent.parent.mkdir(parents=True)
    log.write_bytes(bytes(Transcript("s-1", cwd="/home/ann/shop").user([IMAGE, text("Go")]).assistant(text("done"))))
    of_agent = Transcript("s-1", cwd="/home/ann/shop/api", agentId="a1", isSidechain=True)
    agent.write_bytes(bytes(of_agent.user("Look").assistant(text("seen"), id="msg_2", request="req_2")))
    run(settings, tmp_path)
    assert projects_of_rows(connection) == [("shop", "prompt", 2)]


def test_rows_that_are_stored_keep_their_project_when_a_directory_is_named_later(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "s-1.jsonl"
    log.parent.mkdir()
    nowhere = Transcript("s-1", cwd=None).user("Go").assistant(text("done"))
    log.write_bytes(bytes(nowhere))
    run(settings, log)
    log.write_bytes(bytes(nowhere.user("More", cwd="/home/ann/shop")))
    run(settings, log)
    assert [row[0] for row in projects_of_rows(connection)] == ["logs", "logs"]


def test_a_subagent_of_which_nothing_is_stored_yet_goes_to_its_parents_project(
    settings: Settings, connection: psycopg.Connection, tmp_path: Path
) -> None:
    log, agent = tmp_path / "s-1.jsonl", tmp_path / "s-1" / "subagents" / "agent-a1.jsonl"
    agent.parent.mkdir(parents=True)
    of_agent = Transcript("s-1", cwd="/src/shop/api", agentId="a1", isSidechain=True).user("Look")
    agent.write_bytes(bytes(of_agent))
    run(settings, tmp_path)
    assert projects_of_rows(connection) == []
    connection.commit()
    log.write_bytes(bytes(Transcript("s-1", cwd="/src/shop").user("Go").assistant(text("done"))))
    agent.write_bytes(bytes(of_agent.assistant(text("seen"), id="msg_2", request="req_2")))
    run(settings, tmp_path)
    assert projects_of_rows(connection) == [("shop", "prompt", 2)]
