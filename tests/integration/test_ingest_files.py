"""Which files an ingest finds, whatever lies among them and however they are called."""

import json
import os
from pathlib import Path
from typing import Any

import psycopg
import pytest
from source_files import Transcript

from pipelines import ingest
from pipelines.cli.ingest import describe
from pipelines.cli.output import encode_json
from pipelines.settings import Settings


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
