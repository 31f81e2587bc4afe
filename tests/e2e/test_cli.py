"""The command line as a person meets it: a real server, exit statuses and sentences.

Commands run inside the test's process with the environment of the command alone, which saves the start of an
interpreter each; what depends on a process of its own gets one.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from psycopg.conninfo import make_conninfo

from pipelines.cli import main
from pipelines.cli.reader import READER
from pipelines.samples import SampleTruth, generate

Run = Callable[..., "Done"]

COMMANDS = [
    *(["ingest"], ["aggregate"], ["query"], ["embed"], ["similar"], ["diff"], ["doctor"], ["demo"], ["ui"]),
    *(["maintain"], ["health"], ["archive", "list"], ["archive", "restore"]),
    *(["db", name] for name in ("start", "stop", "url", "migrate", "status", "shell")),
]


@dataclass(frozen=True)
class Done:
    """What one command left."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs tracemill on a database of the test's own; keyword arguments are variables of the environment."""

    def tracemill(*arguments: str, **variables: str) -> Done:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TRACEMILL_HOME": str(tmp_path / "home"),
            "TRACEMILL_DATABASE_URL": dsn,
            "TRACEMILL_READER_DATABASE_URL": make_conninfo(dsn, user=READER),
        } | variables
        capsys.readouterr()
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(sys, "argv", ["tracemill", *arguments]),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return tracemill


def process(*arguments: str, **variables: str) -> Done:
    """Runs tracemill in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleTruth:
    return generate(tmp_path_factory.mktemp("logs"), size_bytes=400_000, days=4)


def says(done: Done, status: int, *words: str) -> None:
    """One sentence on stderr with these words, no traceback, this exit status, nothing on stdout."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in " ".join(done.stderr.split()), done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example(run: Run, command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert re.search(r"Examples?:\n(?:.*\n)*?\s+\S*.*tracemill " + " ".join(command), done.stdout)


def test_every_command_is_listed(run: Run) -> None:
    groups = ([], ["db"], ["archive"])
    listed = "".join(run(*group, "--help").stdout.split("Commands:")[1] for group in groups)
    assert set(re.findall(r"^  (\w+) ", listed, re.MULTILINE)) == {name for names in COMMANDS for name in names}


def test_help_and_version_need_no_database_and_no_heavy_module() -> None:
    probe = (
        "import sys; sys.argv = ['tracemill', '--version']\n"
        "from pipelines.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'psycopg', 'dagster', 'pandas', 'dbt', 'rich', 'pipelines.ingest'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"tracemill \d+\.\d+\.\d+\n", done.stdout)
    assert process("--help", TRACEMILL_DATABASE_URL="nonsense").returncode == 0


def test_shell_completes_commands() -> None:
    words = {"COMP_WORDS": "tracemill agg", "COMP_CWORD": "1"}
    assert process(_TRACEMILL_COMPLETE="complete_bash", **words).stdout.split() == ["aggregate"]


def test_ingest_reports_what_the_logs_hold_and_a_second_time_that_it_is_known(run: Run, sample: SampleTruth) -> None:
    first = run("ingest", str(sample.folder), "--json")
    report = json.loads(first.stdout)
    assert first.stderr == ""
    assert report["files"] == sample.files
    assert report["bytes"] == sample.bytes
    assert report["quarantined"] == sample.broken_lines
    assert first.returncode == (1 if sample.broken_lines else 0)
    assert report["unknown_lines"].get("workspace-beacon", 0) == sample.unknown_lines["workspace-beacon"]
    executions = report["records"]["command_executions"]
    assert executions == {"inserted": sample.executions.total(), "updated": 0, "unchanged": executions["unchanged"]}
    assert report["records"]["tool_calls"]["inserted"] == sample.tool_calls.total()
    assert report["records"]["model_requests"]["inserted"] == (
        sample.total_usage().requests + sample.synthetic_messages
    )

    again = run("ingest", str(sample.folder), "--json")
    report = json.loads(again.stdout)
    assert again.returncode == 0
    assert report["files_by_state"] == {"unchanged": sample.files}
    assert all(counts["inserted"] == counts["updated"] == 0 for counts in report["records"].values())


def test_ingest_in_words_names_files_rows_and_broken_lines(run: Run, sample: SampleTruth, tmp_path: Path) -> None:
    log = next(iter(sorted((sample.folder / "projects").rglob("*.jsonl")))).read_text()
    broken = tmp_path / "broken.jsonl"
    broken.write_text(log + '{"type":"user","mess\n')
    done = run("ingest", str(broken), "--project", "words")
    assert done.returncode == 1
    assert "1 files (1 new)" in done.stdout
    assert re.search(r"executions +\d+ new", done.stdout)
    line = log.count("\n") + 1
    assert f"broken.jsonl:{line}:" in done.stdout
    assert done.stderr == ""


class TestBadInput:
    def test_missing_path(self, run: Run) -> None:
        says(run("ingest", "/no/such/folder"), 2, "/no/such/folder does not exist")

    def test_no_path(self, run: Run) -> None:
        says(run("ingest"), 2, "Missing argument")

    def test_unknown_source(self, run: Run, tmp_path: Path) -> None:
        says(run("ingest", str(tmp_path), "--source", "word"), 2, "'word' is not known", "claude_code")

    def test_project_that_cannot_be_one(self, run: Run, sample: SampleTruth) -> None:
        done = run("ingest", str(sample.folder), "--project", "Not A Slug!")
        assert done.returncode in (1, 2)
        assert "Not A Slug!" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("picture.jsonl", bytes(range(256)) * 40),
            ("notes.txt", b"Dear diary,\ntoday nothing was logged.\n"),
            ("numbers.json", b'{"answer": 42}\n'),
        ],
    )
    def test_file_that_is_not_a_log(self, run: Run, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        done = run("ingest", str(tmp_path / name))
        assert done.returncode == 1
        assert name in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert json.loads(run("ingest", str(tmp_path / name), "--json").stdout)["problems"][0]["path"].endswith(name)

    def test_folder_without_logs(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        done = run("ingest", str(tmp_path / "empty"))
        assert done.returncode == 1
        assert "holds no" in done.stdout + done.stderr

    def test_unreadable_file(self, run: Run, sample: SampleTruth, tmp_path: Path) -> None:
        if os.geteuid() == 0:
            pytest.skip("root may read every file")
        log = tmp_path / "locked.jsonl"
        log.write_bytes(next((sample.folder / "projects").rglob("*.jsonl")).read_bytes())
        log.chmod(0)
        done = run("ingest", str(log))
        assert done.returncode == 1
        assert "locked.jsonl" in done.stdout + done.stderr

    def test_server_that_is_down(self, run: Run, sample: SampleTruth) -> None:
        done = run("ingest", str(sample.folder), TRACEMILL_DATABASE_URL="postgresql://me:hidden@127.0.0.1:1/x")
        says(done, 1, "Error:", "127.0.0.1:1", "is down")
        assert "hidden" not in done.stderr

    def test_dsn_that_is_none(self, run: Run) -> None:
        done = run("db", "status", TRACEMILL_DATABASE_URL="postgresql//oops")
        assert done.returncode == 1
        assert "not a PostgreSQL address" in done.stdout

    def test_setting_that_cannot_be_used(self, run: Run) -> None:
        says(run("query", "select 1", TRACEMILL_PROJECTS="nonsense"), 1, "TRACEMILL_PROJECTS")

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--from", "yesterday"),
            ("--from", "2026-02-30"),
            ("--from", "2026-10-02", "--to", "2026-10-01"),
            ("--from", "2999-01-01"),
            ("--from", ""),
            ("--from", "2026-10-01", "--to", ""),
        ],
    )
    def test_days_that_cannot_be(self, run: Run, arguments: tuple[str, ...]) -> None:
        says(run("aggregate", *arguments), 2, "Error:")

    @pytest.mark.parametrize("month", ["2026-13", "", "2026-10-01", "October"])
    def test_months_that_cannot_be(self, run: Run, month: str) -> None:
        done = run("archive", "restore", "--project", "storefront", "--month", month)
        says(done, 2, f"'{month}' is no month: write YYYY-MM, for example 2026-10.")

    @pytest.mark.parametrize("domain", ["outcome", ""])
    def test_domain_that_there_is_none_of(self, run: Run, domain: str) -> None:
        says(run("archive", "restore", "--domain", domain), 2, f"no domain '{domain}'", "executions, outcomes, samples")

    def test_database_without_tables(self, run: Run, empty_dsn: str, sample: SampleTruth) -> None:
        for command in (("ingest", str(sample.folder)), ("query", "select 1"), ("aggregate",)):
            says(run(*command, TRACEMILL_DATABASE_URL=empty_dsn), 1, "run `tracemill db migrate`")

    def test_server_of_ones_own_is_not_started_or_stopped(self, run: Run) -> None:
        for verb in ("start", "stop"):
            says(run("db", verb), 1, "TRACEMILL_DATABASE_URL", "unset it")

    def test_traceback_only_on_request(self) -> None:
        down = {"TRACEMILL_DATABASE_URL": "postgresql://127.0.0.1:1/x"}
        says(process("query", "select 1", **down), 1, "is down")
        assert "Traceback" in process("query", "select 1", **down, TRACEMILL_DEBUG="1").stderr

    def test_reader_of_the_output_that_goes_away(self, run: Run, sample: SampleTruth, dsn: str, tmp_path: Path) -> None:
        run("ingest", str(sample.folder))
        statement = "select repeat('x', 1000) from generate_series(1, 20000)"
        command = f'{sys.executable} -m pipelines.cli query --csv --project storefront "{statement}" | head -1'
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": os.environ["PATH"], "TRACEMILL_HOME": str(tmp_path), "TRACEMILL_DATABASE_URL": dsn},
        )  # fmt: skip
        assert done.stdout == "repeat\n"
        assert done.stderr == ""

    @pytest.mark.parametrize(
        ("command", "done"),
        [
            ("db url >&-", Done(0, "", "")),
            ("db url >&- 2>&-", Done(0, "", "")),
            ("db url 2>&-", Done(0, "postgresql:///x\n", "")),
            ("query '' 2>&-", Done(1, "", "")),
        ],
    )
    def test_an_output_that_is_closed_swallows_what_is_written(self, tmp_path: Path, command: str, done: Done) -> None:
        environment = {"TRACEMILL_HOME": str(tmp_path), "TRACEMILL_DATABASE_URL": "postgresql:///x"}
        shell = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m pipelines.cli {command}"],
            capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.environ["PATH"], **environment},
        )  # fmt: skip
        assert Done(shell.returncode, shell.stdout, shell.stderr) == done


class TestDatabase:
    def test_status_of_a_migrated_database(self, run: Run) -> None:
        status = json.loads(run("db", "status", "--json").stdout)
        assert status["running"] is True
        assert status["pending"] == []
        assert "problem" not in status

    def test_migrate_twice(self, run: Run, empty_dsn: str) -> None:
        first = json.loads(run("db", "migrate", "--json", TRACEMILL_DATABASE_URL=empty_dsn).stdout)
        assert len(first["applied"]) >= 6
        assert json.loads(run("db", "migrate", "--json", TRACEMILL_DATABASE_URL=empty_dsn).stdout) == {"applied": []}

    def test_database_of_a_newer_version(self, run: Run, dsn: str) -> None:
        from pipelines.database import connect

        with connect(dsn) as connection:
            connection.execute("insert into public.schema_migrations (name) values ('9999_from_the_future')")
        says(run("ingest", "."), 1, "newer", "upgrade tracemill")
        assert run("db", "status").returncode == 1

    def test_url_is_given_unchanged(self, run: Run, dsn: str) -> None:
        assert run("db", "url").stdout == dsn + "\n"

    def test_embedded_server_from_start_to_stop(self, run: Run, server_home: Path) -> None:
        home = {"TRACEMILL_HOME": str(server_home), "TRACEMILL_DATABASE_URL": "", "TRACEMILL_READER_DATABASE_URL": ""}
        stopped = run("db", "status", **home)
        assert stopped.returncode == 1
        assert "tracemill db start" in stopped.stdout
        assert json.loads(run("db", "start", "--json", **home).stdout)["running"] is True
        says(run("query", "select 1", **home), 1, "tracemill db migrate")
        assert run("db", "migrate", **home).returncode == 0
        assert json.loads(run("db", "stop", "--json", **home).stdout) == {"running": False, "stopped": True}


class TestUi:
    def test_port_that_is_taken(self, run: Run) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            says(run("ui", "--port", str(port)), 1, f"Port {port}", "--port")

    @pytest.mark.slow
    @pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_answers_on_loopback_until_it_is_stopped(
        self, dsn: str, tmp_path: Path, request_to_end: signal.Signals
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        def as_in_the_background_of_a_script() -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)

        with subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "ui", "--port", str(port)],
            env={"PATH": os.environ["PATH"], "TRACEMILL_HOME": str(tmp_path), "TRACEMILL_DATABASE_URL": dsn},
            stderr=subprocess.PIPE, text=True, preexec_fn=as_in_the_background_of_a_script,
        ) as process:  # fmt: skip
            assert process.stderr is not None
            assert f"http://127.0.0.1:{port}" in process.stderr.readline()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=30) as answer:
                assert "dagster_version" in json.load(answer)
            process.send_signal(request_to_end)
            assert process.wait(60) == 0
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5)
