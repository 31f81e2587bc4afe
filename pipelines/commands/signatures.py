"""Parsed command → pattern signature: the same text for commands of the same shape, never a value in it.

A signature is ``v1:`` and the base, the slots filled from known words, the sorted names of the flags, and the
classes of the other arguments (``+`` for more than one), in lower case. Names are the one thing taken from the
person's own words, and only where they look like names: a secret typed in their place becomes ``<flag>``,
``/<other>`` or ``<program>``.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from pipelines.commands.grammar import Arguments

VERSION: Final = "v1"
MAX_LENGTH: Final = 500
UNNAMED: Final = "/<other>"

_NAME_PARTS = re.compile(r"[-_.:]+")
_CASE_CHANGES = re.compile(r"[a-z][A-Z]+[a-z]+[A-Z]+[a-z]+[A-Z]")
_VARIABLE = re.compile(r"[A-Za-z_]\w*=")
_COMMON_PROGRAMS: Final = (
    "awk aws az bash bun cargo cat cd chmod chown clang cmake cp curl date dbt deno df diff docker du echo env "
    "export find gcc gcloud gh git go gradle grep head helm htop java jq just kill kubectl ln ls lsof make mkdir mv "
    "mypy mysql node npm npx open pip pip3 pnpm poetry ps psql pwd pytest python python3 rg rm rsync ruff rustc scp "
    "sed sh sleep sort source ssh sudo systemctl tail tar tee terraform time touch top tree tsc unzip uv uvx vim wc "
    "wget which xargs yarn zip zsh"
)
_COMMON_SUBCOMMANDS: Final = (
    "add apply branch build check checkout clone commit compose create delete describe diff down exec fetch get init "
    "install lint list log login logs merge plan ps publish pull push rebase remove reset restore run show start "
    "stash status stop switch sync tag test uninstall up update upgrade"
)
_PROGRAMS: Final = frozenset(_COMMON_PROGRAMS.split())
_SUBCOMMANDS: Final = frozenset(_COMMON_SUBCOMMANDS.split())
_PREFIXES: Final = frozenset({"sudo", "time", "env", "nohup", "exec"})
_KEY_PREFIXES: Final = frozenset(
    {"sk", "pk", "rk", "ghp", "gho", "ghs", "ghu", "ghr", "glpat", "xoxb", "xoxp", "xapp", "hf", "gsk", "akia", "asia"}
)
_SLOTS: Final = ("action", "environment", "priority", "scope", "strategy", "test_type")


def looks_like_name(text: str, max_part: int, max_length: int) -> bool:
    """Whether the text is words joined by ``-_.:``, with at most two digits behind a word: nothing random."""
    if not 0 < len(text) <= max_length:
        return False
    parts = _NAME_PARTS.split(text)
    for part in parts:
        letters = part.rstrip("0123456789")
        if len(part) - len(letters) > 2 or len(letters) > max_part or (letters and not letters.isalpha()):
            return False
    return any(map(str.isalpha, text)) and parts[0] not in _KEY_PREFIXES


def base_of(name: str) -> str:
    """``/name`` in lower case; ``/<other>`` where it does not look like the name of a command.

    A short run of lower-case letters always does, though it might be a password typed in the wrong place.
    """
    bare = name.lstrip("/")
    is_mixed = _CASE_CHANGES.search(bare) is not None
    return f"/{bare.lower()}" if not is_mixed and looks_like_name(bare.lower(), max_part=20, max_length=60) else UNNAMED


def program_of(words: list[str]) -> tuple[str, list[str]]:
    """Program that a shell command starts, with its subcommand, as far as they are common ones; and what is left."""
    for position, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name in _PREFIXES or _VARIABLE.match(word):
            continue
        rest = words[position + 1 :]
        if name not in _PROGRAMS:
            return "<program>", rest
        if rest and rest[0] in _SUBCOMMANDS:
            return f"{name} {rest[0]}", rest[1:]
        return name, rest
    return "<program>", []


def of_command(base: str, parsed: Arguments, classes: Mapping[str, int]) -> str:
    """Signature of a slash command, or of bash mode with the program in the base."""
    parts = [f"{slot}={value}" for slot in _SLOTS if (value := getattr(parsed, slot))]
    if parsed.components:
        parts.append(f"components={'+'.join(sorted(parsed.components))}")
    parts += sorted({_flag(name) for name in parsed.flags})
    return _assemble([base, *parts, *_class_parts(classes)])


def of_prompt(length: int, operation: str, breadth: str, classes: Mapping[str, int]) -> str:
    """Signature of free text, from its length in characters and classes alone."""
    mentioned = {name: count for name, count in classes.items() if name not in ("<str>", "<num>")}
    parts = [f"op={operation}", f"length={_length_class(length)}", f"scope={breadth}"]
    return _assemble(["prompt", *parts, *_class_parts(mentioned)])


def _flag(name: str) -> str:
    lowered = name.lower()
    if len(lowered) == 1 and lowered.isascii():
        return f"-{lowered}"
    is_name = lowered.isascii() and lowered.replace("-", "").isalpha()
    return f"--{lowered}" if is_name and looks_like_name(lowered, max_part=12, max_length=24) else "--<flag>"


def _class_parts(classes: Mapping[str, int]) -> list[str]:
    return [f"{name}+" if count > 1 else name for name, count in sorted(classes.items())]


def _length_class(characters: int) -> str:
    if characters == 0:
        return "none"
    return "short" if characters <= 100 else "medium" if characters <= 1000 else "long"


def _assemble(parts: list[str]) -> str:
    signature = f"{VERSION}:{' '.join(parts)}"
    if len(signature) <= MAX_LENGTH:
        return signature
    digest = hashlib.sha256(signature.encode()).hexdigest()[:16]
    return f"{signature[: MAX_LENGTH - 17]}~{digest}"
