"""Words of a command → what it asks for: targets, flags, scope, priority, components.

Each family of commands has a vocabulary of its own on top of one that all share. A word of the vocabulary fills its
slot; every other word is a target. Values of slots are always words of this module, never the person's own.
"""

import re
from typing import Any, Final

import msgspec

Slots = dict[str, tuple[str, str]]

_MAX_TARGETS: Final = 50
_MAX_LENGTH: Final = 200


def _slot(slot: str, *values: str, **synonyms: str) -> dict[str, tuple[str, str]]:
    return {v: (slot, v) for v in values} | {word: (slot, value) for word, value in synonyms.items()}


PRIORITIES: Final = _slot("priority", "p0", "p1", "p2")
COMPONENTS: Final = _slot(
    "components",
    *("agents", "websocket", "auth", "database", "frontend"),
    agent="agents",
    websockets="websocket",
    authentication="auth",
    db="database",
    ui="frontend",
)
TEST_TYPES: Final = _slot("test_type", "unit", "integration", "e2e", "performance", "smoke")
COMMON: Final[Slots] = PRIORITIES | COMPONENTS


class Grammar(msgspec.Struct, frozen=True):
    """What the words of one family of commands mean."""

    vocabulary: Slots
    bare_flags: frozenset[str] = frozenset()
    """Words that are flags also without dashes."""
    operation: str | None = None
    """Operation of every command of the family; None where its words decide."""


GENERIC: Final = Grammar(COMMON)
_ISSUES: Final = Grammar(
    COMMON
    | _slot("priority", "critical", "high", "medium", "low")
    | _slot("scope", "all", "open", "closed", "blocking"),
    operation="write",
)
_CREATE_TEST: Final = Grammar(COMMON | TEST_TYPES | _slot("scope", "all"), operation="test")
_GARDENER: Final = Grammar(
    COMMON | _slot("action", "refresh", "commit", "clean", "optimize") | _slot("scope", "all"),
    bare_flags=frozenset({"force", "dry-run", "verbose"}),
    operation="maintenance",
)
_DEPLOY: Final = Grammar(
    COMMON
    | _slot("environment", "staging", "production", "dev", prod="production")
    | _slot("strategy", "rollback", "canary", "blue-green"),
    operation="deploy",
)
_TEST: Final = Grammar(COMMON | TEST_TYPES | _slot("scope", "all"), operation="test")
_FAMILIES: Final = (
    ("issueprogress", _ISSUES),
    ("createtest", _CREATE_TEST),
    ("gardener", _GARDENER),
    ("deploy", _DEPLOY),
)
_FLAG_SLOTS: Final[dict[str, Slots]] = {
    "scope": _slot("scope", "all", "open", "closed", "blocking"),
    "priority": PRIORITIES | _slot("priority", "critical", "high", "medium", "low"),
    "component": COMPONENTS,
    "components": COMPONENTS,
    "type": TEST_TYPES,
    "test-type": TEST_TYPES,
    "env": _DEPLOY.vocabulary,
    "environment": _DEPLOY.vocabulary,
}
_NUMBER = re.compile(r"-\d")
_BROAD_WORDS: Final = frozenset({"all", "every", "everything", "entire", "whole", "codebase", "everywhere"})
_CONDITIONS: Final = frozenset({"and", "or", "&&", "||"})


class Arguments(msgspec.Struct, omit_defaults=True):
    """Parsed arguments; ``targets`` and ``flags`` hold the person's own words."""

    targets: list[str] = []
    flags: dict[str, str | bool] = {}
    scope: str | None = None
    test_type: str | None = None
    priority: str | None = None
    components: list[str] = []
    action: str | None = None
    environment: str | None = None
    strategy: str | None = None
    complex_condition: bool = False
    """Joined by *and* or *or*."""
    word_count: int = 0

    def fill(self, slot: str, value: str) -> None:
        """Put a vocabulary word into its slot; the first word wins, components add up."""
        if slot == "components":
            if value not in self.components:
                self.components.append(value)
        elif getattr(self, slot) is None:
            setattr(self, slot, value)

    def to_json(self) -> dict[str, Any]:
        """The six keys that every command has, and those that its family adds."""
        row: dict[str, Any] = {
            "targets": self.targets,
            "flags": self.flags,
            "scope": self.scope,
            "test_type": self.test_type,
            "priority": self.priority,
            "components": self.components,
        }
        for key in ("action", "environment", "strategy", "complex_condition"):
            if value := getattr(self, key):
                row[key] = value
        return row


def grammar_of(base: str) -> Grammar:
    """The grammar of a command's family, by its name."""
    letters = "".join(filter(str.isalpha, base))
    for family, grammar in _FAMILIES:
        if family in letters:
            return grammar
    return _TEST if letters.startswith("test") or letters.endswith(("test", "tests")) else GENERIC


def parse(base: str, words: list[str], grammar: Grammar) -> Arguments:
    """Arguments of a slash command; the family's vocabulary is looked up in the name, too (``/refreshgardener``)."""
    parsed = Arguments(word_count=len(words))
    if grammar is _GARDENER:
        for word, (slot, value) in grammar.vocabulary.items():
            if slot == "action" and word in base:
                parsed.fill(slot, value)
    only_targets = False
    for word in words:
        if only_targets or word[0] != "-" or len(word) == 1 or _NUMBER.match(word):
            _parse_plain(parsed, word, grammar)
        elif word == "--":
            only_targets = True
        else:
            _parse_flag(parsed, word)
    return parsed


def parse_prose(words: list[str], targets: list[str]) -> Arguments:
    """What free text (its words in lower case) asks for, of the things it points at."""
    parsed = Arguments(
        targets=[word[:_MAX_LENGTH] for word in targets[:_MAX_TARGETS]],
        scope=None if _BROAD_WORDS.isdisjoint(words) else "all",
        complex_condition=not _CONDITIONS.isdisjoint(words),
    )
    for known in filter(None, map(COMMON.get, words)):
        parsed.fill(*known)
    return parsed


def _parse_plain(parsed: Arguments, word: str, grammar: Grammar) -> None:
    lowered = word.lower().strip(",;")
    if known := grammar.vocabulary.get(lowered):
        parsed.fill(*known)
    elif lowered in grammar.bare_flags:
        parsed.flags[lowered] = True
    elif lowered in _CONDITIONS:
        parsed.complex_condition = True
    elif len(parsed.targets) < _MAX_TARGETS:
        parsed.targets.append(word[:_MAX_LENGTH])


def _parse_flag(parsed: Arguments, word: str) -> None:
    name, has_value, value = word.lstrip("-").partition("=")
    if len(parsed.flags) < _MAX_TARGETS:
        parsed.flags[name[:_MAX_LENGTH]] = value[:_MAX_LENGTH] if has_value else True
    vocabulary = _FLAG_SLOTS.get(name.lower(), {})
    for part in value.lower().split(",") if vocabulary else ():
        if known := vocabulary.get(part):
            parsed.fill(*known)
