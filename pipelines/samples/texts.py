"""Words, commands and blocks of text that sample logs are made of.

Blocks are encoded as JSON once and used again and again: writing speed then depends on copying bytes, not on
making text up. Sizes follow real transcripts, see ``Texture``.
"""

import json
import random
import string
import zlib
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Texture:
    """How much text and noise surrounds the work.

    ``REAL`` is calibrated to long sessions of client 2.1: about 1.8 KB a line, 50 responses and 60 tool uses a
    MB. ``COMPACT`` keeps the same kinds of lines with little text, so that a few MB hold thousands of executions.
    """

    tool_result_sizes: tuple[int, ...]
    """Characters of a tool result, equally likely; a result stands twice in its line."""
    progress_lines_per_tool: int
    requests_per_execution: int
    """Upper limit of a skewed distribution."""
    executions_per_session: int
    """Upper limit of a uniform distribution."""


COMPACT = Texture((40, 90, 180, 400), 0, 5, 8)
REAL = Texture((150, 500, 1_200, 2_600, 5_000, 11_000), 6, 36, 7)


class Block(NamedTuple):
    """Text as it stands between the quotes of a JSON string, and its length before encoding."""

    encoded: str
    characters: int


class SlashCommand(NamedTuple):
    """A command of the project: the arguments it may get, how likely it is, how much work it makes."""

    name: str
    arguments: tuple[str, ...]
    weight: int
    effort: float = 1.0
    """Requests in proportion to those of a free prompt."""


SLASH_COMMANDS = (
    SlashCommand("deploy", ("staging --dry-run", "staging", "production --canary", "staging --retries=3", "dev"), 18),
    SlashCommand(
        "createtest", ("unit auth", "integration orders and payments", "e2e checkout", "smoke", "unit"), 20, 2.0
    ),
    SlashCommand("gardener", ("refresh --dry-run", "clean --force", "optimize", "commit --verbose"), 10, 0.5),
    SlashCommand("issue", ("progressor p0 agents", "progressor p2 database", "progressor all open", "list open"), 12),
    SlashCommand("review", ("src/api", "src/api tests/api", "--staged", "main..HEAD"), 22, 3.0),
    SlashCommand("release", ("minor", "patch --sign"), 4, 6.0),
)
HEADLESS_COMMAND = SlashCommand("document", ("README.md", "src/models --format=google"), 0, 0.4)
"""What the scheduled runs do. Each starts with a cold cache."""

LOCAL_COMMANDS = ("/help", "/clear", "/cost", "/model", "/mcp")

PROMPTS = (
    "Why does {file} fail when the list is empty?",
    "Add pagination to {file} and keep the old parameter working.",
    "Refactor {file} so that the retry logic has a test of its own.",
    "Fix the flaky test in {file}.",
    "Explain how {file} decides which cache to use.",
    "Rename `{word}` to `{word}_{word}` everywhere.",
    "Write a migration that adds a `{word}` column, with an index.",
    "The build is red since this morning, find out why and mend it.",
    "Make the error message in {file} say which {word} was wrong.",
    "Please look at the last three commits and tell me what could break.",
)

BASH_COMMANDS = ("git status", "npm test -- --watch=false", "ls -la dist", "make lint", "docker ps")

FILES = (
    "src/orders.py",
    "src/api/search.ts",
    "lib/cache.rb",
    "tests/test_billing.py",
    "app/views/cart.tsx",
    "internal/queue/worker.go",
    "db/migrate.sql",
    "README.md",
)

TOOL_ERRORS = (
    "Exit code 1: 2 tests failed, 48 passed",
    "File has not been read yet. Read it first before writing to it.",
    "String to replace not found in file.",
    "Command timed out after 2m 0.0s",
)

API_ERRORS = (
    ("overloaded", 529, "API Error: 529 Overloaded"),
    ("rate_limit", 429, "You have reached your usage limit, resets at 7pm"),
    ("server_error", 500, "API Error: 500 Internal server error"),
)

_WORDS = (
    *("order", "cart", "queue", "worker", "retry", "index", "token", "cache", "handler", "session", "payload"),
    *("schema", "parser", "commit", "branch", "test", "build", "error", "timeout", "request", "response", "client"),
    *("server", "table", "column", "value", "list", "check", "update", "return", "import", "module", "config"),
)


def encode(text: str) -> str:
    """``text`` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def fill(template: str, rng: random.Random) -> str:
    """A prompt with its blanks filled in."""
    return template.format(file=rng.choice(FILES), word=rng.choice(_WORDS))


class Library:
    """Blocks of each kind, made once for one run of the generator."""

    def __init__(self, rng: random.Random, texture: Texture) -> None:
        self.tool_results = tuple(_code(rng, size) for size in texture.tool_result_sizes for _ in range(6))
        self.answers = tuple(_prose(rng, size) for size in (60, 120, 240, 480, 900) for _ in range(8))
        self.thoughts = tuple(_prose(rng, size) for size in (120, 260, 520) for _ in range(6))
        self.edits = tuple(_code(rng, size) for size in (90, 220, 500) for _ in range(6))
        self.expanded_commands = tuple(_prose(rng, size) for size in (200, 400) for _ in range(4))


def _prose(rng: random.Random, size: int) -> Block:
    sentences: list[str] = []
    length = 0
    while length < size:
        sentence = " ".join(rng.choices(_WORDS, k=rng.randint(5, 12))).capitalize() + rng.choice(
            (".", ".", " –", ":", " ✓", ".\n")
        )
        sentences.append(sentence)
        length += len(sentence) + 1
    text = " ".join(sentences)
    return Block(encode(text), len(text))


def _code(rng: random.Random, size: int) -> Block:
    lines: list[str] = []
    length = 0
    while length < size:
        indent, name, arguments = "    " * rng.randint(0, 3), rng.choice(_WORDS), ", ".join(rng.choices(_WORDS, k=2))
        line = f"{len(lines) + 1:5d}\t{indent}{name}({arguments})"
        lines.append(line)
        length += len(line) + 1
    text = "\n".join(lines)
    return Block(encode(text), len(text))


def fake_secrets(rng: random.Random) -> list[str]:
    """Values with the shape of credentials, good for nothing. Put together here so that no file holds one."""
    alphanumeric = string.ascii_letters + string.digits

    def characters(count: int, alphabet: str = alphanumeric) -> str:
        return "".join(rng.choices(alphabet, k=count))

    return [
        "sk-" + "ant-api03-" + characters(93) + "AA",
        _github_token(characters(30)),
        "AKIA" + characters(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        "postgresql://" + "shop:" + characters(20) + "@db.internal.example:5432/shop",
    ]


def _github_token(body: str) -> str:
    """Token whose last six characters are the checksum that scanners verify."""
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    rest, checksum = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        checksum = digits[digit] + checksum
    return "gh" + "p_" + body + checksum
