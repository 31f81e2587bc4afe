import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipelines.settings import REPOSITORY, SettingsError, load, wants_traceback


class RecordingEnvironment(Mapping[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_example_lists_exactly_the_variables_that_are_read():
    environment = RecordingEnvironment()
    load(environment)
    wants_traceback(environment)
    example = (REPOSITORY / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)) == environment.asked


def test_settings_are_the_only_reader_of_our_variables():
    readers = [
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "pipelines").rglob("*.py")
        if re.search(r"""(environ(\.get)?|getenv)[\[(]["'](TRACEMILL_|DATABASE_URL|CLAUDE_|CODEX_)""", path.read_text())
    ]
    assert readers == []


def test_empty_environment_means_the_embedded_server_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load({})
    assert settings.home == tmp_path / ".tracemill"
    assert settings.database_url is None
    assert settings.watched_folders == (tmp_path / ".claude" / "projects",)
    assert settings.device_id


def test_empty_variables_count_as_unset():
    assert load({"TRACEMILL_DATABASE_URL": "", "DATABASE_URL": ""}).database_url is None


def test_our_database_variable_comes_before_the_common_one():
    assert load({"DATABASE_URL": "postgresql:///common"}).database_url == "postgresql:///common"
    both = {"DATABASE_URL": "postgresql:///common", "TRACEMILL_DATABASE_URL": "postgresql:///ours"}
    assert load(both).database_url == "postgresql:///ours"


def test_watched_folders_are_those_that_clients_log_to_unless_named(tmp_path):
    claude, codex = tmp_path / "claude" / "projects", tmp_path / "codex" / "sessions"
    environment = {"CLAUDE_CONFIG_DIR": str(claude.parent), "CODEX_HOME": str(codex.parent)}
    assert load(environment).watched_folders == (claude,)
    codex.mkdir(parents=True)
    assert load(environment).watched_folders == (codex,)
    claude.mkdir(parents=True)
    assert load(environment).watched_folders == (claude, codex)
    folders = os.pathsep.join(["/a", "/b"])
    assert load({"TRACEMILL_WATCHED_FOLDERS": folders}).watched_folders == (Path("/a"), Path("/b"))


def test_project_prefixes():
    assert load({"TRACEMILL_PROJECTS": " /a=one , /b=c=two,"}).project_prefixes == {"/a": "one", "/b=c": "two"}


@pytest.mark.parametrize("entry", ["/a", "=one", "/a="])
def test_project_prefix_that_cannot_be_read_is_named(entry):
    with pytest.raises(SettingsError, match=rf"TRACEMILL_PROJECTS: '{entry}' is not PATH_PREFIX=PROJECT"):
        load({"TRACEMILL_PROJECTS": f"/x=y,{entry}"})
