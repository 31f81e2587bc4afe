"""Made-up secrets of many kinds and the places they turn up in, put together at run time so that none stands here."""

import base64
import json
import random
import string
from collections.abc import Callable

ALPHANUMERIC = string.ascii_letters + string.digits
UPPER = string.ascii_uppercase + "234567"
HEX = "0123456789abcdef"
URL_SAFE = ALPHANUMERIC + "-_"


class Draw:
    """Draws random text in which letters and digits both occur; the same seed gives the same text."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, count: int, alphabet: str = ALPHANUMERIC) -> str:
        while True:
            text = "".join(self._random.choice(alphabet) for _ in range(count))
            if any(map(str.isdigit, text)) and any(map(str.isalpha, text)):
                return text


def _token_segment(value: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _web_token(draw: Draw) -> str:
    head = _token_segment({"alg": "HS256", "typ": "JWT"})
    return f"{head}.{_token_segment({'sub': draw(8, HEX)})}.{draw(43, URL_SAFE)}"


def _private_key(draw: Draw) -> str:
    lines = "\n".join(draw(64) for _ in range(4))
    return f"-----BEGIN RSA PRIVATE{' KEY'}-----\n{lines}\n-----END RSA PRIVATE{' KEY'}-----"


SELF_EVIDENT: dict[str, Callable[[Draw], str]] = {
    "anthropic": lambda draw: "sk-" + "ant-api03-" + draw(93, URL_SAFE) + "AA",
    "openai": lambda draw: "sk-" + draw(20) + "T3Blbk" + "FJ" + draw(20),
    "openai project": lambda draw: "sk-" + "proj-" + draw(74) + "T3Blbk" + "FJ" + draw(74),
    "openrouter": lambda draw: "sk-" + "or-v1-" + draw(64, HEX),
    "github": lambda draw: "gh" + "p_" + draw(36),
    "github app": lambda draw: "gh" + "s_" + draw(36),
    "github fine-grained": lambda draw: "github" + "_pat_" + draw(22) + "_" + draw(59),
    "gitlab": lambda draw: "gl" + "pat-" + draw(20),
    "slack": lambda draw: "xo" + "xb-123456789012-123456789013-" + draw(24),
    "aws key id": lambda draw: "AK" + "IA" + draw(16, UPPER),
    "aws session key id": lambda draw: "AS" + "IA" + draw(16, UPPER),
    "google api": lambda draw: "AI" + "za" + draw(35),
    "google oauth": lambda draw: "ya" + "29." + draw(60, URL_SAFE),
    "stripe": lambda draw: "sk" + "_live_" + draw(24),
    "sendgrid": lambda draw: "S" + "G." + draw(22) + "." + draw(43),
    "npm": lambda draw: "np" + "m_" + draw(36),
    "pypi": lambda draw: "py" + "pi-AgEIcHlwaS5vcmc" + draw(80),
    "hugging face": lambda draw: "h" + "f_" + draw(34),
    "groq": lambda draw: "gs" + "k_" + draw(52),
    "digitalocean": lambda draw: "dop" + "_v1_" + draw(64, HEX),
    "shopify": lambda draw: "shp" + "at_" + draw(32, HEX),
    "linear": lambda draw: "lin" + "_api_" + draw(40),
    "web token": _web_token,
    "private key": _private_key,
    "slack webhook": lambda draw: "https://hooks." + "slack.com/services/T" + draw(8, UPPER) + "/B1/" + draw(24),
    "database url": lambda draw: f"postgres://bob:{draw(16)}@db.example.com:5432/shop",
}
"""Kinds that are recognised wherever they stand."""

NAMED: dict[str, Callable[[Draw], str]] = {
    "short password": lambda draw: draw(7),
    "password with symbols": lambda draw: draw(6) + "!#^*" + draw(4),
    "long password": lambda draw: draw(24),
    "letters": lambda draw: "".join(c for c in draw(60) if c.isalpha())[:20],
    "hexadecimal key": lambda draw: draw(32, HEX),
    "base64 key": lambda draw: draw(30) + "+/" + draw(10) + "==",
    "aws secret": lambda draw: draw(40),
    "uuid": lambda draw: "-".join(draw(length, HEX) for length in (8, 4, 4, 4, 12)),
}
"""Kinds that only their surroundings give away."""

NAMED_PLACES: dict[str, Callable[[str], str]] = {
    "shell variable": lambda s: f"export DB_PASSWORD={s} && make run",
    "flag and value": lambda s: f"deploy --api-key {s} --force",
    "flag with an equals sign": lambda s: f"deploy --token={s}",
    "json": lambda s: json.dumps({"user": "bob", "client_secret": s, "n": 1}),
    "json in json": lambda s: json.dumps({"body": json.dumps({"password": s})}),
    "json three deep": lambda s: json.dumps([json.dumps([json.dumps({"apiKey": s})])]),
    "yaml": lambda s: f"db:\n  user: bob\n  password: {s}\n  port: 5432",
    "header": lambda s: f"curl -H 'X-Api-Key: {s}' https://api.example.com/v1",
    "python": lambda s: f'client = Client(password="{s}", timeout=3)',
    "annotated python": lambda s: f'auth_token: str = "{s}"',
    "prose": lambda s: f"Log in with the password: {s} and look around",
    "argument list": lambda s: f'["deploy", "--secret", "{s}"]',
    "error message": lambda s: f"Error: authentication failed (token={s})",
    "xml": lambda s: f"<server><password>{s}</password></server>",
}
"""Places with a name that says that a secret follows."""

BARE_PLACES: dict[str, Callable[[str], str]] = {
    "alone": lambda s: s,
    "in prose": lambda s: f"use {s} for the staging server, please",
    "in a file name": lambda s: f"see notes-{s}.txt",
    "after an escaped newline": lambda s: json.dumps(f"first line\n{s}\nlast line"),
    "as an argument": lambda s: f"run --with {s}",
    "quoted": lambda s: f"value '{s}'",
    "behind non-ASCII text": lambda s: f"ключ→ {s}",
    "as a header": lambda s: f"Authorization: Bearer {s}",
    "in a link": lambda s: f"[link]({s})",
}
"""Places that say nothing about what follows."""


def core(kind: str, secret: str) -> str:
    """The part of a secret that must not be seen, where not all of it is secret."""
    if kind == "slack webhook":
        return secret.rpartition("/")[2]
    return secret.split(":")[2].partition("@")[0] if kind == "database url" else secret
