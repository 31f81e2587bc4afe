import json
import random
import string
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.commands import MAX_ANALYSED, Command, analyse
from pipelines.commands.words import split

REFERENCE = Path(__file__).parents[4] / "shared/corpus/ground_truth/commands_reference.json"
FEATURES = {
    "base_command": (str, type(None)),
    "arg_count": int,
    "has_multiple_targets": bool,
    "target_count": int,
    "test_type": (str, type(None)),
    "scope_breadth": str,
    "operation_type": str,
    "has_compound_criteria": bool,
    "specificity_level": str,
    "estimated_complexity": float,
    "affects_components": list,
    "component_count": int,
    "priority_level": (str, type(None)),
    "is_high_priority": bool,
    "parallel_friendly": bool,
    "cache_heavy": bool,
    "expected_duration_category": str,
}
COMMANDS = [
    ("", None),
    ("Fix the tests in src/app.py", None),
    ("", "/clear"),
    ("/deploy staging --canary", "/deploy"),
    ("git status", "!bash"),
    ("", "!bash"),
    ("/", "/"),
]


@pytest.mark.parametrize(("text", "name"), COMMANDS)
def test_every_command_has_all_17_features(text: str, name: str | None) -> None:
    features = analyse(text, name).features
    assert set(features) == set(FEATURES)
    assert len(features) == 17
    assert all(isinstance(features[key], kind) for key, kind in FEATURES.items())


def test_issue_commands_read_priority_components_and_scope() -> None:
    command = analyse("/gitissueprogressorv3 p0 agents websocket all #12", "/gitissueprogressorv3")
    assert command.base == "/gitissueprogressorv3"
    assert command.args == {
        "targets": ["#12"],
        "flags": {},
        "scope": "all",
        "test_type": None,
        "priority": "p0",
        "components": ["agents", "websocket"],
    }
    assert command.features["affects_components"] == ["agents", "websocket"]
    assert command.features["specificity_level"] == "high"
    assert command.features["is_high_priority"]
    assert command.features["scope_breadth"] == "broad"
    # (1 + 3 for writing) × 2 for everything + 0.5 for each component + 1 for p0.
    assert command.features["estimated_complexity"] == 10
    assert command.features["expected_duration_category"] == "long"


def test_test_commands_read_the_kind_of_test_and_compound_conditions() -> None:
    command = analyse("/createtestsv2 e2e auth and database", "/createtestsv2")
    assert command.features["test_type"] == "e2e"
    assert command.features["operation_type"] == "test"
    assert command.features["has_compound_criteria"]
    assert command.args["components"] == ["auth", "database"]


def test_gardener_commands_read_the_action_from_their_name_or_their_words() -> None:
    assert analyse("/refreshgardener --force", "/refreshgardener").args["action"] == "refresh"
    worded = analyse("/gardener clean dry-run", "/gardener")
    assert worded.args["action"] == "clean"
    assert worded.args["flags"] == {"dry-run": True}
    assert worded.features["operation_type"] == "maintenance"


def test_deploy_commands_read_environment_strategy_and_values() -> None:
    command = analyse('/deploy prod blue-green --version=1.2.3 --note="ship it" -f', "/deploy")
    assert command.args["environment"] == "production"
    assert command.args["strategy"] == "blue-green"
    assert command.args["flags"] == {"version": "1.2.3", "note": "ship it", "f": True}
    assert command.signature == "v1:/deploy environment=production strategy=blue-green --note --version -f"


def test_free_text_is_described_by_its_words_and_what_it_points_at() -> None:
    command = analyse("Review every module of the auth code, see docs/auth.md and https://example.com/x", None)
    assert command.base is None
    assert command.args["targets"] == ["docs/auth.md", "https://example.com/x"]
    assert command.features["operation_type"] == "analyze"
    assert command.features["scope_breadth"] == "broad"
    assert command.features["cache_heavy"]
    assert command.signature == "v1:prompt op=analyze length=short scope=broad <path> <url>"


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("git commit -m 'x y'", "v1:!bash git commit -m <str>"),
        ("API_KEY=hunter2 sudo /usr/bin/docker run image", "v1:!bash docker run <str>"),
        ("./hunter2secret --now", "v1:!bash <program> --now"),
        ("", "v1:!bash <program>"),
    ],
)
def test_shell_commands_are_grouped_by_common_programs(text: str, signature: str) -> None:
    assert analyse(text, "!bash").signature == signature


SAME_SHAPE = [
    [("/fix src/a.py --verbose", "/fix"), ("/fix lib/b/c.py --verbose", "/Fix"), ("/fix --verbose ./x.ts", "/fix")],
    [("/issue #1", "/issue"), ("/issue owner/repo#22", "/issue"), ("/issue ABC-123", "/issue")],
    [("/run --a=1 --b 5", "/run"), ("/run 77 --b --a=zzz", "/run")],
    [("/open https://a.example", "/open"), ("/open http://b.example/c?d=e", "/open")],
    [("/say one two", "/say"), ("/say three four five six", "/say")],
    [("fix the bug", None), ("please repair and fix it now", None)],
]


@pytest.mark.parametrize("commands", SAME_SHAPE)
def test_commands_of_one_shape_share_a_signature(commands: list[tuple[str, str | None]]) -> None:
    assert len({analyse(text, name).signature for text, name in commands}) == 1


def test_commands_of_different_shape_have_different_signatures() -> None:
    commands = [shape[0] for shape in SAME_SHAPE] + [("/fix #1 --verbose", "/fix"), ("/fix src/a.py", "/fix")]
    assert len({analyse(text, name).signature for text, name in commands}) == len(commands)


@pytest.mark.parametrize(
    "name", ["/test-command", "/plugin:do-it", "/mcp__server__tool", "/createtestsv2", "/init", "/デプロイ"]
)
def test_names_of_commands_are_kept(name: str) -> None:
    assert analyse(f"{name} x", name).base == name


ALPHABETS = ["0123456789abcdef", string.ascii_letters + string.digits, string.ascii_letters + string.digits + "+/=_-"]


def random_secret(seed: int) -> str:
    source = random.Random(seed)
    prefix = source.choice(["", "", "sk-" + "ant-api03-", "gh" + "p_", "xo" + "xb-"])
    return prefix + "".join(source.choices(source.choice(ALPHABETS), k=source.randint(24, 80)))


PLACES = [
    ("/deploy {}", "/deploy"),
    ("/deploy --token={}", "/deploy"),
    ("/deploy --token {}", "/deploy"),
    ("/deploy --{}", "/deploy"),
    ("/deploy --{}=1 -{}", "/deploy"),
    ("/deploy '{} {}' @{} #{} {}/{}", "/deploy"),
    ("/{}", "/{}"),
    ("/x:{}", "/x:{}"),
    ("{}", "!bash"),
    ("git {} --{}", "!bash"),
    ("{}=1 git status", "!bash"),
    ("{}", None),
    ("use {} for src/{}.py and https://{}/", None),
]


@pytest.mark.parametrize("place", PLACES)
def test_no_six_characters_of_a_secret_get_into_a_signature(place: tuple[str, str | None]) -> None:
    text, name = place
    for seed in range(200):
        secret = random_secret(seed)
        command = analyse(text.replace("{}", secret), name and name.replace("{}", secret))
        shown = f"{command.signature} {command.base}"
        assert not any(secret[i : i + 6].lower() in shown for i in range(len(secret) - 5)), (secret, shown)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.one_of(st.none(), st.just("!bash"), st.text(max_size=40)))
def test_any_text_is_a_command(text: str, name: str | None) -> None:
    command = analyse(text, name)
    assert command.signature.startswith("v1:")
    assert len(command.signature) <= 500
    assert command.signature == command.signature.lower()
    assert command == analyse(text, name)
    json.dumps([command.args, command.features])


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab \"'\\=\n", max_size=60))
def test_splitting_never_fails_and_loses_no_letter(text: str) -> None:
    letters = [c for c in text if c in "ab"]
    assert [c for word in split(text) for c in word if c in "ab"] == letters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a "b c" d', ["a", "b c", "d"]),
        ("--k='v w' x", ["--k=v w", "x"]),
        ('say "he said \\"hi\\""', ["say", 'he said "hi"']),
        ("it's broken", ["it's", "broken"]),
        ('an "open quote', ["an", '"open', "quote"]),
        ("'' x", ["x"]),
    ],
)
def test_words_are_split_as_a_shell_would(text: str, words: list[str]) -> None:
    assert split(text) == words


def test_a_long_signature_is_cut_and_stays_distinct() -> None:
    names = ["".join(chr(ord("a") + int(d)) for d in f"{i:05d}") for i in range(200)]
    one = analyse("/x " + " ".join(f"--{name}-{name}" for name in names[:50]), "/x").signature
    other = analyse("/x " + " ".join(f"--{name}-{name}" for name in [*names[:49], names[99]]), "/x").signature
    assert len(one) == len(other) == 500
    assert one != other


def test_only_the_beginning_of_a_pasted_file_is_analysed() -> None:
    def seconds(text: str) -> float:
        started = time.process_time()
        for _ in range(5):
            analyse(text, None)
            analyse(text, "/x")
        return time.process_time() - started

    hostile = "\"' \\" * 2_000_000
    assert seconds(hostile) < 20 * seconds(hostile[: MAX_ANALYSED * 2]) + 0.1


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is not here: no reference commands to compare with")
def test_bases_equal_the_reference() -> None:
    def base_of(row: dict[str, Any]) -> Command:
        name = row["name"] if row["name"].startswith(("/", "!")) else f"/{row['name']}"
        return analyse(f"{name} {row['args']}", name)

    sessions = json.loads(REFERENCE.read_text())["sessions"].values()
    named = [row for session in sessions for row in session if row["name"]]
    assert named
    for row in named:
        assert base_of(row).base.removeprefix("/") == row["name"].removeprefix("/")
