"""Values given to something whose name says that it is a secret: ``DB_PASSWORD=…``, ``"token": "…"``, ``--api-key …``.

Words that such names are made of are looked up first; what follows each is then read once: the rest of the name,
how the value is given, the value. Whether a name means a secret (``tokenizer`` does not) and whether a value is one
(``getenv(…)`` is not) is decided by plain functions.
"""

import re
from functools import lru_cache
from typing import Final

from pipelines.ingest.redaction.spans import Span
from pipelines.ingest.redaction.values import is_certain, is_value

_PASSWORDS: Final = ("pass", "pwd", "senha", "contraseña", "пароль", "密码", "密碼", "パスワード")
_STEMS: Final = (*_PASSWORDS, "token", "secret", "credential", "authorization", "_auth", "key", "code", "connection")
_ASCII_STEMS: Final = tuple(filter(str.isascii, _STEMS))

_QUALIFIERS: Final = {
    "key": re.compile(
        r"(?:api|access|account|app|auth|bearer|client|deploy|encryption|license|master|private|secret|service|shared"
        r"|sharedaccess|signing|storage|subscription)[_ -]?$"
    ),
    "code": re.compile(r"(?:auth|access|security|verification)[_ -]?$"),
}
_STEM = re.compile(
    r"(?P<pass>pass(?P<word>word|wd|phrase|code|wort)?+)|connection[_ -]?string|"
    + "|".join(map(re.escape, _STEMS[1:-1])),
    re.IGNORECASE,
)
_REST = re.compile(
    r"(?P<suffix>[A-Za-z0-9_.-]{0,24}+)"
    r"(?P<given>"
    r"\\*+[\"'`]?+\]?+[ \t]{0,4}+"
    r"(?:=>|->|:=|={1,3}|:[ \t]?[A-Za-z_][\w.\[\]|]{0,30}[ \t]?=(?!=)|[:：=]|\()[ \t]{0,8}+"
    r"|\\*+[\"'`],[ \t]{0,4}+(?=\\*+[\"'`])"
    r"|[\"'`]?+(?:[ \t]{0,4}+\|[ \t]{0,4}+|[ \t]{1,4}+(?:(?:is|was|be|of|to|set to|ist|es|est)[ \t:]{1,4}+)?))"
    r"(?:[bfru]{1,2}(?=[\"']))?(?P<quote>\\*+[\"'`])?+"
)
_UNQUOTED = re.compile(r"[^\s\"'`\x00]{1,256}+")
_UNQUOTED_TAIL = re.compile(r"[^\s\"'`\x00]*+")
_NEXT_FIELD = re.compile(r"[&,;][\w.-]{1,40}=")
_MAX_QUOTED: Final = 1024
_FLAG = re.compile(r"(?:^|[\s\"'`,\[(])--?[\w.-]{0,30}$")
_NEGATING = re.compile(
    r"(?:max|min|num|pad|eos|bos|unk|sep|mask|cls|stop|input|output|total|prompt|completion|cached?|reasoning|public"
    r"|special|next|per|no|any|each|one|first|last)[_ -]?$"
)
_HARMLESS_SUFFIX = re.compile(
    r"[_.-]?(?:counts?|types?|limits?|usage|used|names?|paths?|files?|dirs?|urls?|uris?|endpoints?|length|size"
    r"|expir[a-z]*|ttl|policy|required|fields?|label|hint|manager|budget|reset|rotation|exists?|valid[a-z]*|is|has|env|var"
    r"|max|min|version|store|provider|format|algorithm|bits?|class|regex|pattern|prompt|input)(?![a-z])",
    re.IGNORECASE,
)
_JOINED: Final = frozenset({"", "s", "key", "keys", "accesskey", "keybase", "value", "string", "str", "hash", "id"})
_WORD = re.compile(r"[a-z]*")


def find(text: str) -> list[Span]:
    """Secrets given by name, in order and without overlaps."""
    lowered = _lower(text)
    spans: list[Span] = []
    position = 0
    for start in _candidates(lowered):
        if start >= position and (span := _read(text, lowered, start)):
            spans.append(span)
            position = span.end
    return spans


@lru_cache(maxsize=4096)
def names_secret(name: str) -> bool:
    """Whether what stands under this key of a mapping, or behind this flag, is a secret."""
    lowered = _lower(name)
    for start in _candidates(lowered):
        stem = _STEM.match(name, start)
        suffix = name[stem.end() :] if stem else ""
        if stem and _means_secret(lowered, stem, suffix) and (stem["word"] or stem["pass"] is None or not suffix):
            return True
    return False


def _lower(text: str) -> str:
    """In lower case and of the same length, so that positions agree."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _candidates(lowered: str) -> list[int]:
    """Where the words that names of secrets are made of begin."""
    found = []
    for stem in _ASCII_STEMS if lowered.isascii() else _STEMS:
        position = lowered.find(stem)
        while position >= 0:
            found.append(position)
            position = lowered.find(stem, position + len(stem))
    return sorted(found)


def _read(text: str, lowered: str, start: int) -> Span | None:
    stem = _STEM.match(text, start)
    rest = stem and _REST.match(text, stem.end())
    if not stem or not rest or not _means_secret(lowered, stem, rest["suffix"]):
        return None
    given = rest["given"].strip(" \t\\\"'`]")
    is_flag = given in ("", ",") and _FLAG.search(text, max(0, start - 40), start) is not None
    if stem["pass"] and not stem["word"] and not (is_flag or given[:1] == "="):
        return None
    value_start = rest.end()
    value_end = _end_of_value(text, value_start, rest["quote"])
    value = text[value_start:value_end]
    if not _is_secret(value, given, is_flag=is_flag, is_password=_is_password(stem), is_quoted=bool(rest["quote"])):
        return None
    if not rest["quote"] and value_end - value_start >= 200:
        value_end = max(value_end, _trimmed_end(text, value_start, _UNQUOTED_TAIL))
        value = text[value_start:value_end]
    return Span(value_start, value_end, _rule_name(stem), value)


def _is_password(stem: re.Match[str]) -> bool:
    return stem["pass"] is not None or stem[0].lower() in _PASSWORDS


def _rule_name(stem: re.Match[str]) -> str:
    return "password" if _is_password(stem) else "token" if stem[0].lower() == "token" else "secret"


def _means_secret(lowered: str, stem: re.Match[str], suffix: str) -> bool:
    """Whether the name around the stem means a secret: not ``max_tokens``, ``tokenizer``, ``secret_name``."""
    word = stem[0].lower()
    before = lowered[max(0, stem.start() - 14) : stem.start()]
    if qualifier := _QUALIFIERS.get(word):
        if not qualifier.search(before):
            return False
    elif word == "pass" and before[-1:].isalpha():
        return False
    if _HARMLESS_SUFFIX.match(suffix):
        return False
    # The end of the stem's own word: camel case begins a new one.
    joined = _WORD.match(suffix if stem[0][-1].islower() else suffix.lower())
    if joined is None or joined[0] not in _JOINED:
        return False
    return word != "token" or (joined[0] != "s" and not _NEGATING.search(before))


def _is_secret(value: str, given: str, *, is_flag: bool, is_password: bool, is_quoted: bool) -> bool:
    if is_flag:
        return not value.startswith("-") and is_value(value, is_password=is_password, is_quoted=is_quoted)
    if given[:1] in ("=", ":", "-", "：") and given:
        return is_value(value, is_password=is_password, is_quoted=is_quoted, is_code="=" in given)
    return (is_quoted or given != "(") and is_certain(value)


def _end_of_value(text: str, start: int, quote: str | None) -> int:
    """End of the value: the closing quote of the same depth, else the next space or quote."""
    if not quote:
        return _trimmed_end(text, start, _UNQUOTED)
    position, limit = start, start + _MAX_QUOTED
    while (closing := text.find(quote, position, limit)) >= 0:
        if closing == start or text[closing - 1] != "\\":
            return closing
        position = closing + 1
    line_end = text.find("\n", start, limit)
    return line_end if line_end >= 0 else min(len(text), limit)


def _trimmed_end(text: str, start: int, run: re.Pattern[str]) -> int:
    match = run.match(text, start)
    if match is None:
        return start
    following = _NEXT_FIELD.search(text, start, match.end())
    value = text[start : following.start() if following else match.end()]
    return start + len(value.rstrip("\\").rstrip(",;.)]}>").rstrip("\\"))
