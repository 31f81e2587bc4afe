"""YAML from strangers: plain values, or a refusal before anything large is built."""

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import yaml_text

SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=20)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner), max_leaves=20
)


@given(value=TREES)
@settings(max_examples=100, deadline=None)
def test_what_was_written_is_read(value):
    assert yaml_text.parse(yaml.safe_dump(value)) == value


def test_aliases_and_merges_of_ordinary_size_are_meant():
    assert yaml_text.mapping("base: &b {model: m, n: 1}\nfast:\n  <<: *b\n  n: 2\n") == {
        "base": {"model": "m", "n": 1},
        "fast": {"model": "m", "n": 2},
    }


def doubling(levels: int, *, key: str = "") -> str:
    lines = ["l0: &l0 {x: " + "y" * 1000 + "}"]
    lines += [f"l{n}: &l{n} {{{key or 'a'}: *l{n - 1}, b: *l{n - 1}}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (doubling(40), "aliases multiply"),
        (doubling(40, key="<<"), "aliases multiply"),
        ("a: &a [*a]", "a part of"),
        ("a: *nobody", "stands for nothing"),
        ("- " * 5000 + "x", "levels deep"),
        ("[" * 5000, "levels deep"),
        ("x: " + "y" * (2 << 20), "2.1 MB"),
        ("a: 1\n---\nb: 2\n", "several documents"),
        ("a: !!python/object/apply:os.system ['true']", "constructor"),
        ("a: !!binary aGVsbG8=", "binary"),
        ("a: 2026-13-45", "cannot be read"),
        ("{a: 1, [b]: 2", "(line 1 of it)"),
    ],
)
def test_what_is_refused_is_refused_at_once_with_a_reason(text, words):
    began = time.process_time()
    with pytest.raises(yaml_text.Refused, match=words.replace("(", r"\(").replace(")", r"\)")):
        yaml_text.parse(text)
    assert time.process_time() - began < 5


@given(text=st.text(alphabet="ab:-&*!<>{}[]|#'\"\n \t01.", max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_refused(text):
    try:
        yaml_text.parse(text)
    except yaml_text.Refused as refusal:
        assert str(refusal)
