import json
import random
import string
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_samples import BARE_PLACES, HEX, NAMED, NAMED_PLACES, SELF_EVIDENT, Draw, core

from pipelines.ingest import redaction
from pipelines.ingest.redaction import Redactor
from pipelines.ingest.redaction.values import MARKER
from pipelines.sources.cutting import cut

REDACTOR = Redactor(b"a key for tests only, 32 bytes..")


def leaks(secret: str, text: str) -> bool:
    """Whether eight characters in a row of the secret can be read in the text (all of it, where it is shorter)."""
    size = min(8, len(secret))
    return any(secret[i : i + size] in text for i in range(len(secret) - size + 1))


@pytest.mark.parametrize("kind", SELF_EVIDENT)
def test_a_secret_of_known_form_is_redacted_wherever_it_stands(kind: str) -> None:
    draw = Draw(seed=len(kind))
    places = BARE_PLACES if kind in ("private key", "database url") else {**BARE_PLACES, **NAMED_PLACES}
    for place, put in places.items():
        for _ in range(3):
            secret = SELF_EVIDENT[kind](draw)
            text = put(secret)
            assert not leaks(core(kind, secret), REDACTOR.text(text)), (place, text)


@pytest.mark.parametrize("kind", NAMED)
def test_a_secret_without_a_form_is_redacted_where_its_name_gives_it_away(kind: str) -> None:
    draw = Draw(seed=len(kind))
    for place, put in NAMED_PLACES.items():
        for _ in range(5):
            secret = NAMED[kind](draw)
            text = put(secret)
            assert secret not in REDACTOR.text(text), (place, text)


@pytest.mark.parametrize(
    "text",
    [
        "mysql -uroot -p{} shop",
        "sshpass -p {} ssh host",
        "docker login -u bob -p {} registry.example.com",
        "curl -u bob:{} https://example.com",
        "https://bob:{}@example.com/x",
        "amqp://bob:{}/%2F@host/x",
        "https://example.com/c?sv=1&sig={}%3D&x=1",
        "Cookie: theme=dark; session={}",
        "machine example.com login bob password {}",
        "Authorization: Basic {}==",
        "AccountName=x;AccountKey={}==;EndpointSuffix=core",
        "the password is {}",
        "| password | {} |",
        "пароль: {}",
        "密码：{}",
        'os.environ.get("API_KEY", "{}")',
        'token = b"{}"',
        'setPassword("{}")',
        "PGPASSWORD={} psql",
        "password => '{}'",
    ],
)
def test_a_secret_is_redacted_by_its_surroundings(text: str) -> None:
    draw = Draw(seed=7)
    for length in (9, 16, 40):
        secret = draw(length)
        assert secret not in REDACTOR.text(text.format(secret))


def harmless(draw: Draw) -> list[str]:
    """Texts that logs are full of and that look like secrets to careless detectors."""
    identifier = "-".join(draw(length, HEX) for length in (8, 4, 4, 4, 12))
    return [
        identifier,
        f"session {identifier} resumed",
        f"commit {draw(40, HEX)}",
        f"sha256:{draw(64, HEX)}",
        f"toolu_01{draw(22)}",
        f"msg_01{draw(22)} answered req_011{draw(20)}",
        f"/home/bob/.claude/projects/-home-bob-shop/{identifier}.jsonl",
        f"agent-{draw(17, HEX)}.jsonl",
        f"src/auth/token_store_{draw(2, '0123456789a')}.py:123: in refresh_token",
        f"https://github.com/acme/shop/pull/1234#discussion_r{draw(9, string.digits + 'a')}",
        f"http://localhost:8080/a?page=2&id={identifier}",
        f"data:image/png;base64,{draw(120)}",
    ]


PLAIN = [
    "input_tokens: 1234, output_tokens: 99, max_tokens=4096",
    "the token expired; ask for a password reset",
    "password: str, token: Optional[str] = None",
    "api_key=os.environ['API_KEY'] secret=${SECRET} token=$TOKEN password=<your-password>",
    "tokenizer=gpt2 secret_name=shop-db token_type: bearer",
    "user.token = newToken; token = get_token(request)",
    "from secrets import token_hex",
    "Basic understanding of bearer authentication",
    "The secret of success is hard work; the key is practice.",
    "git log --author=bob --since=2026-01-01",
    "docker run -u 1000:1000 -p 8080:80 shop",
    "hf_hub_download npm_config_registry sk-learn gsk_file",
    "Fix the failing tests in tests/unit/test_password.py and run everything again",
]


def test_ids_hashes_paths_and_plain_text_stay_as_they_are() -> None:
    draw = Draw(seed=11)
    texts = PLAIN + [text for _ in range(100) for text in harmless(draw)]
    wrong = [(text, changed) for text in texts if (changed := REDACTOR.text(text)) != text]
    assert len(wrong) <= len(texts) * 0.005, wrong[:5]
    assert not [text for text, _ in wrong if text in PLAIN], wrong[:5]


def test_equal_secrets_stay_joinable_and_tell_nothing_without_the_key() -> None:
    secret = Draw(seed=1)(20)
    places = ["password={}", '{{"password": "{}"}}', "--password {}", '\\"password\\": \\"{}\\"']
    hashes = {MARKER.findall(REDACTOR.text(place.format(secret)))[0][-9:-1] for place in places}
    other = Redactor(b"another key of tests, 32 bytes..").text(f"password={secret}")
    assert len(hashes) == 1
    assert hashes.pop() not in other


def test_escaped_and_encoded_secrets_are_redacted() -> None:
    draw = Draw(seed=2)
    secret = SELF_EVIDENT["anthropic"](draw)
    encoded = secret.replace("-", "%2D")
    escaped = secret.replace("-", "\\u002d")
    assert not leaks(secret[-40:], REDACTOR.text(f"x {encoded} y"))
    assert not leaks(secret[-40:], REDACTOR.text(f'{{"a": "{escaped}"}}'))
    slashed = draw(20) + "/" + draw(20)
    assert not leaks(slashed[:20], REDACTOR.text(json.dumps({"secret_key": slashed}).replace("/", "\\/")))


def test_a_tree_is_redacted_in_leaves_keys_and_under_names_of_secrets() -> None:
    draw = Draw(seed=3)
    plain, key = "correct horse", SELF_EVIDENT["github"](draw)
    tree = {
        "cwd": "/home/bob/shop",
        "password": plain,
        "env": [{"name": "DB_PASSWORD", "value": plain}, {"name": "PORT", "value": "5432"}],
        "argv": ["deploy", "--api-key", plain, "--force"],
        "nested": json.dumps({"a": json.dumps({"client_secret": plain})}),
        "passwords": [plain, {"of": {"admin": plain, "pin": 90817263}}],
        "token": 50256,
        "secret": {"type": "string", "description": "What you were given."},
        key: 1,
        "input_tokens": 12,
        "none": None,
    }
    redacted = REDACTOR.tree(tree)
    text = json.dumps(redacted)
    assert plain not in text
    assert key not in text
    assert redacted["cwd"] == "/home/bob/shop"
    assert redacted["env"][1] == {"name": "PORT", "value": "5432"}
    assert redacted["argv"][0] == "deploy"
    assert redacted["argv"][3] == "--force"
    assert (redacted["input_tokens"], redacted["token"], redacted["none"]) == (12, 50256, None)
    assert "90817263" not in text
    assert redacted["secret"] == tree["secret"]


def test_a_tree_of_any_depth_is_cut_rather_than_an_error() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert "TOO DEEP" in json.dumps(REDACTOR.tree(deep))


@pytest.mark.parametrize(
    ("kind", "public"),
    [
        ("anthropic", 13),
        ("openai", 3),
        ("github", 4),
        ("gitlab", 6),
        ("aws key id", 4),
        ("web token", 10),
        ("private key", 32),
    ],
)
def test_a_sample_that_ends_inside_a_secret_shows_nothing_of_it(kind: str, public: int) -> None:
    secret = SELF_EVIDENT[kind](Draw(seed=4))
    line = b'{"type":"user","message":"use ' + secret.encode() + b' here"}'
    start = line.index(secret.encode())
    for end in range(start + public + 6, start + len(secret) + 1):
        revealed = line[start + public : end].decode()
        assert not leaks(revealed, REDACTOR.sample(line[:end])), revealed


def test_a_sample_of_a_cut_password_or_of_bytes_that_are_no_text_is_redacted() -> None:
    assert "horse" not in REDACTOR.sample(b'{"password":"correct horse bat')
    secret = SELF_EVIDENT["github"](Draw(seed=5))
    assert not leaks(secret, REDACTOR.sample(b"\xff\xfe" + secret.encode("utf-16-le")))
    assert not leaks(secret, REDACTOR.sample(b"\x80\x81 " + secret.encode() + b" \xf0\x9f"))


def test_paths_lose_secrets_and_nothing_else() -> None:
    secret = SELF_EVIDENT["github"](Draw(seed=6))
    plain = f"/home/bob/.claude/projects/-home-bob-shop/{uuid.UUID(int=7)}.jsonl"
    assert REDACTOR.path(plain) == plain
    redacted = REDACTOR.path(f"/home/bob/{secret}/{secret}.jsonl")
    assert not leaks(secret, redacted)
    assert redacted.startswith("/home/bob/[REDACTED:")
    assert redacted.endswith(".jsonl")


def test_a_cut_falls_between_words() -> None:
    secret = SELF_EVIDENT["github"](Draw(seed=8))
    text = f"before {secret} after"
    for limit in range(len(text)):
        short = cut(text, limit)
        assert len(short) <= limit
        assert secret in short or not leaks(secret, short)
    assert cut(text, len(text)) == text


def test_a_cut_leaves_what_it_can_of_a_text_without_spaces() -> None:
    assert cut("没有空格的文字" * 100, 50) == ("没有空格的文字" * 100)[:50]
    assert cut('{"error":"first","url":"postgres://app:hunter2@db/shop"}', 45) == '{"error":"first","url":'


def test_long_texts_are_cut() -> None:
    assert len(REDACTOR.text("word " * redaction.MAX_CHARACTERS)) <= redaction.MAX_CHARACTERS
    assert len(REDACTOR.text("x" * 3 * redaction.MAX_CHARACTERS)) <= redaction.MAX_CHARACTERS


PUNCTUATION = "\\\"'`=:@/%&;,|<>[]{}()$ \n\t"
WORDS = ["password", "token", "api_key", "secret", "--key", "is", "hunter2", "K3yK3yK3yK3yK3yK3y", "Bearer ", "://"]
ODDITIES = ["\\u0022", "%22", "\ud800", "\x00", "\x01", "[REDACTED:token:0123abcd]", "[REDACTED:", "-----BEGIN "]
PIECES = st.one_of(
    st.text(max_size=20), st.sampled_from([*PUNCTUATION, *WORDS, *ODDITIES, "sk-" + "ant-", "gh" + "p_"])
)
TEXTS = st.lists(PIECES, max_size=25).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_any_text_can_be_redacted_and_twice_is_like_once(text: str) -> None:
    once = REDACTOR.text(text)
    assert REDACTOR.text(once) == once
    assert len(once) <= 40 * len(text) + 100


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=8))
def test_a_batch_gives_what_single_texts_give(texts: list[str]) -> None:
    assert REDACTOR.texts(texts) == [REDACTOR.text(text) for text in texts]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_can_be_sampled(data: bytes) -> None:
    assert "\x00" not in REDACTOR.sample(data)


def test_a_batch_of_many_texts_finds_each_secret() -> None:
    draw, choose = Draw(seed=9), random.Random(9)
    secrets = [(kind, make(draw)) for kind, make in SELF_EVIDENT.items() for _ in range(4)]
    texts = []
    for kind, secret in secrets:
        texts += [f"use {secret} now", *choose.sample(PLAIN, 3), f"und jetzt → {core(kind, secret)[:3]}"]
    redacted = REDACTOR.texts(texts)
    assert redacted == [REDACTOR.text(text) for text in texts]
    assert not [
        kind for (kind, secret), text in zip(secrets, redacted[::5], strict=True) if leaks(core(kind, secret), text)
    ]


HOSTILE = [
    "password=" * 12_000,
    "password=$" * 10_000,
    'password="' * 10_000,
    "token " * 16_000,
    "://a:" * 20_000,
    "://" + "a" * 100_000,
    "sk-" * 32_000,
    "sk-" + "ant-a" * 20_000,
    "eyJhbGciOi" + "." * 100 + "a." * 40_000,
    "-----BEGIN " * 8_000,
    ("-----BEGIN PRIVATE" + " KEY-----") * 3_000,
    "\\" * 100_000,
    "\\u005c" * 16_000,
    "%25" * 32_000,
    "[REDACTED:token:0123abcd]" * 4_000,
    "[REDACTED:" * 10_000,
    "cookie: a=" * 10_000,
    "mysql -" * 12_000,
    "login a password " * 6_000,
    "api key to the " * 6_000,
    "é" * 48_000 + "password=é" * 4_000,
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_texts_take_linear_time(number: int) -> None:
    text = HOSTILE[number]
    REDACTOR.text("warm")

    def seconds(size: int) -> float:
        started = time.process_time()
        REDACTOR.text(text[:size])
        return time.process_time() - started

    small, large = seconds(len(text) // 4), seconds(len(text))
    assert large < max(8 * small, 1), f"{small:.3f} s for a quarter, {large:.3f} s for all of {text[:20]!r}…"
