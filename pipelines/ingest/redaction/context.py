"""Secrets told by what stands around them: ``password=…``, ``--api-key …``, headers, URLs, and by their first letters.

Complements the rules of Kingfisher, which knows secrets by their full form. Every pattern runs in linear time:
repetitions are bounded or possessive, and never nested. A rule runs only where one of its hints occurs.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from pipelines.ingest.redaction import assignments
from pipelines.ingest.redaction.spans import Span
from pipelines.ingest.redaction.values import is_certain, is_value

_I = re.IGNORECASE
_PARAMETERS: Final = "sig|signature|key|code|auth|x-amz-(?:signature|credential|security-token)|x-goog-signature"


class Rule(msgspec.Struct, frozen=True):
    """One way to find secrets, and lower-case words without one of which it cannot find any."""

    hints: tuple[str, ...]
    find: Callable[[str], Iterator[Span]]


def find(text: str) -> list[Span]:
    """Secrets of the text by context, in no particular order; spans may overlap."""
    lowered = text.lower()
    rules = [rule for rule in _RULES if any(hint in lowered for hint in rule.hints)]
    return [span for rule in rules for span in rule.find(text)]


def _by(pattern: re.Pattern[str], rule: str, accept: Callable[[str], bool] = bool) -> Callable[[str], Iterator[Span]]:
    """Finder of the group ``v`` of a pattern."""

    def find_matches(text: str) -> Iterator[Span]:
        for match in pattern.finditer(text):
            if accept(match["v"]):
                yield Span(match.start("v"), match.end("v"), rule, match["v"])

    return find_matches


def _find_prefixed(text: str) -> Iterator[Span]:
    for match in _PREFIXED.finditer(text):
        if match["sure"] or _RANDOM_RUN.search(match["tail"]):
            yield Span(match.start(), match.end(), "key", match[0])


def _find_private_keys(text: str) -> Iterator[Span]:
    position = 0
    while match := _PRIVATE_KEY.search(text, position):
        closing = text.find("-----END", match.end())
        end = len(text) if closing < 0 else min(len(text), closing + 80)
        if closing >= 0 and (dashes := text.find("-----", closing + 8, end)) >= 0:
            end = dashes + 5
        yield Span(match.start(), end, "private-key", text[match.start() : end])
        position = end


_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:(?P<sure>sk-ant-(?=\w)|sk-proj-(?=\w)|sk-or-v1-|gh[opsur]_(?=[A-Za-z0-9]{3})|github_pat_"
    r"|glpat-(?=\w)|xox[abeoprs]-(?=\d)|AKIA(?=[A-Z2-7]{4})|AGE-SECRET-KEY-1"
    r"|(?:eyJhbGciOi|eyJ0eXAiOi|eyJraWQiOi)[A-Za-z0-9_-]*+(?:\.[A-Za-z0-9_-]++){0,4}+)"
    r"|SG\.[A-Za-z0-9_-]{1,80}\.|ya29\.|sk-|[spr]k_(?:live|test)_|whsec_|xapp-|A(?:SIA|BIA|CCA)(?=[A-Z2-7])|AIza|npm_"
    r"|pypi-AgE|hf_|gsk_|xai-|tvly-|pplx-|nvapi-|dckr_pat_|dop_v1_|shp(?:at|ss|ca)_|lin_api_|ntn_|sq0[a-z]{3}-|r8_|ATATT)"
    r"(?P<tail>[A-Za-z0-9_-]*+)"
)
_PREFIX_HINTS = (
    *("sk-", "gh", "glpat-", "xox", "akia", "age-secret-key-", "eyj", "sg.", "ya29.", "k_live_", "k_test_", "whsec_"),
    *("xapp-", "asia", "abia", "acca", "aiza", "npm_", "pypi-", "hf_", "gsk_", "xai-", "tvly-", "pplx-", "nvapi-"),
    *("dckr_pat_", "dop_v1_", "shpat_", "shpss_", "shpca_", "lin_api_", "ntn_", "sq0", "r8_", "atatt"),
)
_RANDOM_RUN = re.compile(r"(?=[A-Za-z]{0,40}\d)(?=\d{0,40}[A-Za-z])[A-Za-z0-9]{8}")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_URL_PASSWORD = re.compile(
    r"://[^\s/:@\"'<>\\]{0,200}:(?!\d{1,5}(?:[/?#\s]|$))(?P<v>[^\s\"'<>/]{1,256}(?=@)|[^\s\"'<>@]{1,256}(?=@))"
)
_URL_USER = re.compile(r"://(?P<v>[^\s/:@\"'<>\\]{16,256})(?=@)")
_QUERY = re.compile(rf"[?&;](?:{_PARAMETERS})=(?P<v>[^&\s\"'`#<>]{{6,2048}}+)", _I)
_BEARER = re.compile(r"(?<![A-Za-z])(?:bearer|basic|token|apikey)[ \t]{1,4}+(?P<v>[A-Za-z0-9._~+/=-]{8,4096}+)", _I)
_COOKIE = re.compile(r"(?<![A-Za-z])cookie\\*[\"']?[ \t]?[:=][ \t]?\\*[\"']?(?P<v>[^\r\n\"'\\]{8,4096}+)", _I)
_USER_OPTION = re.compile(r"(?:^|\s)(?:-u|--user|--proxy-user)[ =]?[\"']?[^\s:\"']{1,100}:(?P<v>[^\s\"']{1,200}+)")
_PASSWORD_OPTION = re.compile(
    r"(?:(?<![\w-])(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,200}?\s-p"
    r"|(?<![\w-])(?:sshpass|docker login|podman login|az login|redis-cli)\b[^\n|;]{0,200}?\s-[pa][ =]?)"
    r"[\"']?(?P<v>[^\s\"'-][^\s\"']{2,200}+)"
)
_NETRC = re.compile(r"\blogin[ \t\n]{1,4}\S{1,100}[ \t\n]{1,4}password[ \t\n]{1,4}(?P<v>\S{1,200}+)")
_WEBHOOK = re.compile(
    r"(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks)/(?P<v>[\w/-]{8,300}+)"
)
_ELEMENT = re.compile(
    r"<[\w:.-]{0,40}(?:password|passwd|pwd|secret|token|api[_-]?key|private[_-]?key|credential)[\w:.-]{0,24}>"
    r"(?P<v>[^<\s]{3,512}+)",
    _I,
)

_RULES: Final = (
    Rule(assignments.STEMS, assignments.find),
    Rule(_PREFIX_HINTS, _find_prefixed),
    Rule(("private key",), _find_private_keys),
    Rule(("://",), _by(_URL_PASSWORD, "url-password", is_value)),
    Rule(("://",), _by(_URL_USER, "url-user", is_certain)),
    Rule(("=",), _by(_QUERY, "url-parameter", is_certain)),
    Rule(("bearer", "basic", "token", "apikey"), _by(_BEARER, "authorization", is_certain)),
    Rule(("cookie",), _by(_COOKIE, "cookie", lambda value: "=" in value)),
    Rule(("-u", "--"), _by(_USER_OPTION, "password", lambda value: not value.isdigit() and is_value(value))),
    Rule(("mysql", "mariadb", "sshpass", "login", "redis-cli"), _by(_PASSWORD_OPTION, "password", is_value)),
    Rule(("login",), _by(_NETRC, "password")),
    Rule(("hooks.slack.com", "webhooks"), _by(_WEBHOOK, "webhook")),
    Rule(("</",), _by(_ELEMENT, "secret", is_value)),
)  # fmt: skip
