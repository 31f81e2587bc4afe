"""Whatever the documents tell people to type works, in the order in which they are told to type it."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.database import embedded
from pipelines.samples import agent_evaluations, generate, optimizations
from pipelines.settings import REPOSITORY

ACTIVATE = ". .venv/bin/activate"


def commands(document: str) -> list[str]:
    """Lines of the console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", (REPOSITORY / document).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def environment(home: Path) -> dict[str, str]:
    """A person's: home with logs in it, the environment of the project active, no database configured."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(home),
        "TRACEMILL_HOME": str(home),
    }


def test_documents_tell_people_to_type_something():
    assert ACTIVATE in commands("README.md")
    assert {"make demo", "make ui", "make test"} <= set(commands("README.md"))
    assert "make check" in commands("CONTRIBUTING.md")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_command_of_the_documents_is_known(document, tmp_path):
    for command in commands(document):
        if command == ACTIVATE:
            continue
        program, *arguments = shlex.split(command)
        if program == "make":
            done = subprocess.run(["make", "--dry-run", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        else:
            assert program == "tracemill", command
            line = [
                sys.executable,
                "-m",
                "pipelines.cli",
                *arguments,
                "--help",
            ]  # unknown options are errors before help
            done = subprocess.run(line, env=environment(tmp_path), cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_every_link_of_the_documents_leads_somewhere():
    for document in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_readme_names_every_target_of_make_help_that_people_need():
    listed = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"make ([a-z-]+)", listed))
    assert {"install", "demo", "ui", "test", "test-slow", "check", "help"} <= targets


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_readme_from_top_to_bottom(server_home):
    """Every tracemill command, on logs in their usual place and the embedded server."""
    generate(server_home / ".claude", size_bytes=400_000, days=4)
    optimizations.write(server_home / "optimizer-runs", days=10)
    agent_evaluations.write(server_home / "evaluations", days=10)
    for command in commands("README.md"):
        if not command.startswith("tracemill"):
            continue
        line = ["bash", "-c", command]
        done = subprocess.run(line, env=environment(server_home), cwd=REPOSITORY, capture_output=True, text=True)
        # The sample logs hold broken lines, which ingest and health report by their exit status.
        reported = command.startswith(("tracemill ingest", "tracemill health")) and done.returncode == 1
        assert done.returncode == 0 or reported, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert done.stdout.strip(), f"{command} says nothing"
    assert not embedded.status(server_home).running, "the last command of the README stops the server"
