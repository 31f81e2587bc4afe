import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines import settings
from pipelines.ingest.redaction import load_key
from pipelines.settings import Settings, SettingsError


def settings_at(home: Path, **variables: str) -> Settings:
    return settings.load({"TRACEMILL_HOME": str(home), **variables})


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    here = settings_at(tmp_path / "new" / "home")
    key = load_key(here)
    file = here.home / "redaction.key"
    assert len(key) >= 32
    assert load_key(here) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in here.home.iterdir()] == ["redaction.key"]


def test_two_homes_have_different_keys(tmp_path: Path) -> None:
    assert load_key(settings_at(tmp_path / "a")) != load_key(settings_at(tmp_path / "b"))


def test_many_at_once_agree_on_one_key(tmp_path: Path) -> None:
    here = settings_at(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: load_key(here), range(64)))) == 1


def test_a_key_of_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    assert load_key(settings_at(tmp_path, TRACEMILL_REDACTION_KEY="sixteen letters!")) == b"sixteen letters!"
    assert not (tmp_path / "redaction.key").exists()


def test_a_short_key_is_refused_by_name_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TRACEMILL_REDACTION_KEY") as refused:
        load_key(settings_at(tmp_path, TRACEMILL_REDACTION_KEY="hunter2"))
    assert "hunter2" not in str(refused.value)


def test_a_damaged_key_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "redaction.key").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"redaction\.key"):
        load_key(settings_at(tmp_path))
    (tmp_path / "redaction.key").write_bytes(b"\xff" * 64)
    with pytest.raises(SettingsError, match=r"redaction\.key"):
        load_key(settings_at(tmp_path))


def test_a_home_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"redaction\.key"):
        load_key(settings_at(tmp_path / "file" / "home"))
