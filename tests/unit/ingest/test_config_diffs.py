"""Diffs of configurations are right: ``patch`` makes the later version of the earlier one with them."""

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.config_diffs import (
    LONGEST_DIFF_BYTES,
    ConfigVersion,
    change_summary,
    config_diff,
    unified_diff,
)

LINES = st.lists(st.sampled_from(["model: a", "temperature: 0", "- tool", "", "prompt: |", "  é\x0c\r x"]), max_size=30)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=4)
OBJECTS = st.dictionaries(
    st.text("ab/~", max_size=3),
    st.recursive(VALUES, lambda inner: st.dictionaries(st.text("ab/~", max_size=3), inner), max_leaves=6),
)


def patched(folder: Path, before: str, diff: str) -> str:
    file = folder / "config.yaml"
    file.write_bytes(before.encode())
    done = subprocess.run(
        ["patch", "--binary", "--quiet", "--no-backup-if-mismatch", str(file)],
        input=diff.encode(), capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return file.read_bytes().decode() if file.exists() else ""


@settings(max_examples=30, deadline=None)
@given(before=TEXTS, after=TEXTS)
def test_patch_makes_the_later_version_of_the_earlier_one(tmp_path_factory, before, after):
    diff = unified_diff(before, after, "before", "after")
    if before == after:
        assert diff == ""
    else:
        assert patched(tmp_path_factory.mktemp("patched"), before, diff) == after


@pytest.mark.parametrize("text", ["a\n" * 500_000, "".join(f"k{n % 7}: {n}\n" for n in range(80_000))])
def test_long_versions_are_compared_in_bounded_time(tmp_path, text):
    before, after = f"first: 1\n{text}last: 1\n", f"first: 2\n{text}last: 2\n"
    started = time.process_time()
    diff = unified_diff(before, after, "before", "after")
    assert time.process_time() - started < 5
    assert patched(tmp_path, before, diff) == after


def test_only_what_changed_is_shown():
    before = "".join(f"key{n}: {n}\n" for n in range(50))
    diff = unified_diff(before, before.replace("key25: 25", "key25: 26"), "version 1", "version 2")
    assert diff.splitlines() == [
        "--- version 1", "+++ version 2", "@@ -23,7 +23,7 @@", " key22: 22", " key23: 23", " key24: 24",
        "-key25: 25", "+key25: 26", " key26: 26", " key27: 27", " key28: 28",
    ]  # fmt: skip


def test_diff_that_is_too_long_is_left_out_but_summed_up():
    before = ConfigVersion(1, "a\n" * 400_000, {"model": "a"})
    after = ConfigVersion(2, "b\n" * 400_000, {"model": "b"})
    made = config_diff(before, after)
    assert made.diff_yaml is None
    assert made.change_summary["changed"] == {"/model": ["a", "b"]}
    short = config_diff(before, ConfigVersion(2, before.raw_yaml + "c\n", {}))
    assert len(short.diff_yaml.encode()) < LONGEST_DIFF_BYTES


def test_versions_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="Version 1 does not follow version 2: give the earlier version first"):
        config_diff(ConfigVersion(2, "", {}), ConfigVersion(1, "", {}))


def test_summary_names_values_by_their_paths():
    before = {"model": "a", "limits": {"steps": 3, "a/b": 1}, "tools": ["x"], "flag": True}
    after = {"model": "b", "limits": {"steps": 3, "c~d": None}, "tools": ["x", "y"], "flag": 1}
    assert change_summary(before, after) == {
        "added": {"/limits/c~0d": None},
        "removed": {"/limits/a~1b": 1},
        "changed": {"/model": ["a", "b"], "/tools": [["x"], ["x", "y"]], "/flag": [True, 1]},
    }


def applied(before: dict, summary: dict) -> dict:
    result = {key: applied_copy(value) for key, value in before.items()}
    for path in summary["removed"]:
        holder, key = at(result, path)
        del holder[key]
    for path, value in summary["added"].items():
        holder, key = at(result, path)
        holder[key] = value
    for path, (_, value) in summary["changed"].items():
        holder, key = at(result, path)
        holder[key] = value
    return result


def applied_copy(value):
    return {key: applied_copy(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def at(document: dict, path: str) -> tuple[dict, str]:
    *above, key = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])
    for part in above:
        document = document[part]
    return document, key


@settings(max_examples=40, deadline=None)
@given(before=OBJECTS, after=OBJECTS)
def test_summary_applied_to_the_earlier_version_gives_the_later_one(before, after):
    assert applied(before, change_summary(before, after)) == after
