"""Command text → base, arguments, features and pattern signature.

Pure and total: any text gives a command, none raises. Hand in text that is already redacted: arguments are parts of
the text, and a value that is a secret only because of the word before it (``--password x``) could not be
recognised any more. The signature would hold no secret even if the text did.
"""

import re
from typing import Any, Final

import msgspec

from pipelines.commands import signatures
from pipelines.commands.classes import REFERENCES, class_of, count_classes
from pipelines.commands.features import features, operation_of, test_type_of
from pipelines.commands.grammar import GENERIC, grammar_of, parse, parse_prose
from pipelines.commands.words import split

__all__ = ["BASH", "MAX_ANALYSED", "Command", "analyse"]

BASH: Final = "!bash"
MAX_ANALYSED: Final = 4096
"""Characters of a command that are looked at; nothing more is learnt from a pasted file."""

_LETTERS = re.compile(r"[a-z0-9]+")


class Command(msgspec.Struct, frozen=True):
    """What one command is, for grouping and prediction."""

    base: str | None
    """``/name`` or ``!bash``; None for free text."""
    args: dict[str, Any]
    """targets, flags, scope, test_type, priority, components, and what the command's family adds."""
    features: dict[str, Any]
    signature: str


def analyse(text: str, name: str | None) -> Command:
    """The command of ``text`` (as typed, redacted), given its name: ``/deploy``, ``!bash`` or None for free text."""
    if name is None:
        return _analyse_prompt(text)
    head = text[:MAX_ANALYSED].lstrip()
    is_named = head[: len(name)].lower() == name.lower()
    words = split(head[len(name) :] if is_named else head)
    if name == BASH:
        return _analyse_shell(words)
    base = signatures.base_of(name)
    grammar = grammar_of(base)
    parsed = parse(base, words, grammar)
    lowered = _LETTERS.findall(base) + [word.lower() for word in words[:20]]
    operation = grammar.operation or operation_of(lowered)
    signature = signatures.of_command(base, parsed, count_classes(parsed.targets))
    return Command(base, parsed.to_json(), features(base, parsed, operation), signature)


def _analyse_shell(words: list[str]) -> Command:
    program, rest = signatures.program_of(words)
    parsed = parse(BASH, rest, GENERIC)
    operation = operation_of(word.lower() for word in words[:3])
    signature = signatures.of_command(f"{BASH} {program}", parsed, count_classes(parsed.targets))
    return Command(BASH, parsed.to_json(), features(BASH, parsed, operation), signature)


def _analyse_prompt(text: str) -> Command:
    head = text[:MAX_ANALYSED]
    lowered = _LETTERS.findall(head.lower())
    targets = [word for word in head.split() if class_of(word) in REFERENCES]
    parsed = parse_prose(lowered, targets)
    operation = operation_of(lowered)
    if operation == "test" or "e2e" in lowered:
        parsed.test_type = test_type_of(lowered)
    described = features(None, parsed, operation)
    signature = signatures.of_prompt(len(text), operation, described["scope_breadth"], count_classes(targets))
    return Command(None, parsed.to_json(), described, signature)
