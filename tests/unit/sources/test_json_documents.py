"""Whole documents: keys seen in their first bytes, and whatever is damaged ends in a sentence, never in an error."""

import gzip
import json
import random
from pathlib import Path

import pytest
from damage import mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.samples import agent_evaluations
from pipelines.sources import json_documents
from pipelines.sources.documents import FORMATS
from pipelines.sources.outputs import Unreadable
from tests.documents import Found, found

OURS = ("arc_eval", "evaluation_jsonl", "tau2", "tau_bench")
KEYS = st.dictionaries(
    st.text(max_size=5),
    st.integers() | st.text(max_size=5) | st.dictionaries(st.text(max_size=4), st.none(), max_size=3),
)


@given(value=KEYS.filter(bool), is_list=st.booleans(), indent=st.sampled_from([None, 1]))
@settings(max_examples=200, deadline=None)
def test_keys_are_seen_wherever_the_head_ends(value, is_list, indent):
    text = json.dumps([value, {"other": 1}] if is_list else value, indent=indent, ensure_ascii=False).encode()
    plain = {key for key in value if key and json.dumps(key, ensure_ascii=False) == f'"{key}"' and "." not in key}
    seen = json_documents.leading_keys(text)
    assert plain <= seen
    assert not is_list or "other" in value or "other" not in seen
    for cut in range(0, len(text), 7):
        assert json_documents.leading_keys(text[:cut]) <= seen


def test_nested_lists_and_texts_have_no_keys():
    assert json_documents.leading_keys(b'[[{"a": 1}]]') == frozenset()
    assert json_documents.leading_keys(b'{"a": [{"b": 1}], "c": {"d": {"e": 1}}, "f": "{\\"g\\": 1}"}') == {
        "a", "c", "c.d", "f",
    }  # fmt: skip
    assert json_documents.leading_keys(b'plain "a": 1') == frozenset()


def test_a_damaged_archive_and_a_missing_file_are_refused_with_a_sentence(tmp_path):
    path = tmp_path / "cut.json.gz"
    path.write_bytes(gzip.compress(random.Random(1).randbytes(5000))[:-500])
    with pytest.raises(Unreadable, match="copy it again"):
        json_documents.load(path)
    with pytest.raises(Unreadable, match="check that the file exists"):
        json_documents.load(tmp_path / "nowhere.json")


def test_a_document_above_the_limit_is_refused_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(json_documents, "MAX_BYTES", 10)
    path = tmp_path / "large.json"
    path.write_bytes(b"[1, 2, 3, 4]")
    with pytest.raises(Unreadable, match="split it"):
        json_documents.load(path)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One document of each format."""
    folder = tmp_path_factory.mktemp("samples")
    agent_evaluations.write(folder)
    one = {source: path for path in sorted(folder.rglob("*.json*")) if (source := _claimed(path))}
    return list(one.values())


def _claimed(path: Path) -> str | None:
    head = path.read_bytes()[: 256 << 10]
    return next((name for name in OURS if FORMATS[name].matches(path, head)), None)


def survives(data: bytes, folder: Path) -> None:
    """Every reader of ours gives records or a sentence."""
    path = folder / "damaged"
    path.write_bytes(data)
    for source in OURS:
        FORMATS[source].matches(path, data[: 256 << 10])
        try:
            run: Found = found(path, source)
        except Unreadable as error:
            assert str(error).endswith(".")
        else:
            assert all(bad.reason and bad.detail.endswith(".") for bad in run.bad)


@given(data=st.binary(max_size=300) | st.text(alphabet='[]{}",:0 \\a', max_size=200).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused(data, tmp_path_factory):
    survives(data, tmp_path_factory.getbasetemp())


def test_damaged_documents_are_read_or_refused(samples, tmp_path):
    dice = random.Random(20260301)
    assert len(samples) == len(OURS)
    for sample in samples:
        whole = sample.read_bytes()
        for _ in range(60):
            survives(mutated(whole, dice), tmp_path)
