"""Secrets out of every text before it is stored.

A secret becomes ``[REDACTED:rule:hash]``, where the hash is keyed: equal secrets stay joinable, and the hash tells
nothing without the key. Two detectors look at each text, and at what it says when its escapes are undone: Kingfisher,
with rules of its own and ours, for forms and surroundings that a pattern can tell, and a reader of assignments
(``password=…``) for those that take more.
What either finds is replaced; then the result is looked at again, until nothing is found, so that redacting twice
changes nothing.

Ids that logs are full of (UUIDs, hashes of commits, ``toolu_…``, ``msg_…``) and ordinary paths stay as they are.
"""

import hmac
import re
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

from pipelines.ingest.redaction import assignments, engine
from pipelines.ingest.redaction.assignments import names_secret
from pipelines.ingest.redaction.key import load_key
from pipelines.ingest.redaction.spans import Span, merge, views, without
from pipelines.ingest.redaction.values import MARKER, MASK, is_value
from pipelines.sources.cutting import cut

__all__ = ["MAX_CHARACTERS", "Redactor", "load_key"]

MAX_CHARACTERS: Final = 256 * 1024
"""Longer texts are cut to this length."""

_MAX_PASSES: Final = 5
_MAX_DEPTH: Final = 64
_TOO_DEEP: Final = "[TOO DEEP]"
_MAX_KNOWN: Final = 20_000
_MAX_KNOWN_LENGTH: Final = 200
_HARMLESS: Final = re.compile(
    r"(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|agent-[0-9a-f]{6,20})(?:\.jsonl)?"
    r"|(?:msg|req|toolu|srvtoolu)_[A-Za-z0-9]{8,40}"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z"
    r"|[a-z_]{0,24}"
)
"""Texts that are nothing but an id, its file, a moment or a word: half of what records hold, so not scanned."""
_DESCRIBING: Final = frozenset({"type", "title", "description", "format"})
_BOUNDARY = "\n" + "| " * 8 + "\n"


class Redactor:
    """Replaces secrets; all methods are pure functions of their arguments and the key.

    Short texts that were looked at are remembered: the same folders, branches and versions come with every record.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}

    def text(self, text: str) -> str:
        """The text without secrets. Takes any text, lone surrogates included, and never raises."""
        return self._redact(cut(text, MAX_CHARACTERS))

    def texts(self, texts: list[str]) -> list[str]:
        """Each text without secrets: what ``text`` gives, faster for many, of which few hold any."""
        distinct = {text: cut(text, MAX_CHARACTERS) for text in texts}
        suspects = _suspects(list(distinct.values()))
        for number, (text, shortened) in enumerate(distinct.items()):
            if number in suspects:
                distinct[text] = self._redact(shortened)
        return [distinct[text] for text in texts]

    def tree(self, value: Any, _depth: int = 0) -> Any:
        """A JSON-like value without secrets in its strings and keys.

        What stands under a key that names a secret, or behind such a flag in a list, is one whatever it looks like.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, (dict, list, tuple)) and _depth >= _MAX_DEPTH:
            return _TOO_DEEP
        if isinstance(value, dict):
            return {self._key_of(key): self._member(key, member, value, _depth) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            before: Iterable[Any] = (None, *value)
            return [self._element(last, element, _depth) for last, element in zip(before, value, strict=False)]
        return value

    def path(self, path: str) -> str:
        """A file path without secrets, each of its parts looked at by itself as well; always valid Unicode."""
        # Bytes of a name that are no UTF-8 come as lone surrogates, which neither a database nor a terminal takes.
        path = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return "/".join(self._redact(part) for part in self.text(path).split("/"))

    def sample(self, data: bytes) -> str:
        """The start of a line as text without secrets, where the line may be cut, broken or not text at all.

        A last word that might be the beginning of a secret goes too. NUL bytes are left out.
        """
        text = self.text(data.replace(b"\x00", b"").decode("utf-8", "replace"))
        start = len(text)
        while start > 0 and (text[start - 1].isalnum() or text[start - 1] in "_-+/=.~\ufffd"):
            start -= 1
        last = text[start:]
        is_word = last.isalpha() and last[1:].islower()
        if len(last) >= 6 and not is_word and not MARKER.search(text, max(0, start - 80)):
            return text[:start] + self._marker("cut", last)
        return text

    def _redact(self, text: str) -> str:
        if _HARMLESS.fullmatch(text):
            return text
        if len(text) > _MAX_KNOWN_LENGTH:
            return self._redact_anew(text)
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[text] = self._redact_anew(text)
        return known

    def _redact_anew(self, text: str) -> str:
        for _ in range(_MAX_PASSES):
            redacted = self._replace(text, _find(text))
            if redacted == text:
                break
            text = redacted
        return text

    def _replace(self, text: str, spans: list[Span]) -> str:
        if not spans:
            return text
        markers = [match.span() for match in MARKER.finditer(text)]
        pieces: list[str] = []
        position = 0
        for span in without(merge(spans), markers, text):
            pieces += (text[position : span.start], self._marker(span.rule, span.secret))
            position = span.end
        return "".join([*pieces, text[position:]])

    def _marker(self, rule: str, secret: str) -> str:
        data = secret.encode("utf-8", "surrogatepass")
        return f"[REDACTED:{rule}:{hmac.digest(self._key, data, 'sha256')[:4].hex()}]"

    def _key_of(self, key: Any) -> Any:
        return self.text(key) if isinstance(key, str) else key

    def _member(self, key: Any, member: Any, siblings: dict[Any, Any], depth: int) -> Any:
        name = siblings.get("name", siblings.get("key")) if key == "value" else key
        if isinstance(name, str) and names_secret(name):
            is_number_of_token = isinstance(member, int | float) and "token" in name.lower()
            return member if is_number_of_token else self._secret(member, depth + 1)
        return self.tree(member, depth + 1)

    def _secret(self, value: Any, depth: int) -> Any:
        """Every text and number in what its name calls a secret, but for what describes it, as schemas do."""
        if isinstance(value, str):
            return self._marker("secret", value) if is_value(value, is_quoted=True) else self.text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._marker("secret", str(value)) if is_value(str(value), is_quoted=True) else value
        if isinstance(value, (dict, list, tuple)) and depth >= _MAX_DEPTH:
            return _TOO_DEEP
        if isinstance(value, dict):
            return {
                self._key_of(key): (self.tree if key in _DESCRIBING else self._secret)(member, depth + 1)
                for key, member in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._secret(element, depth + 1) for element in value]
        return value

    def _element(self, last: Any, element: Any, depth: int) -> Any:
        is_argument = isinstance(last, str) and isinstance(element, str) and last[:1] == "-" != element[:1]
        if is_argument and "=" not in last and names_secret(last) and is_value(element, is_quoted=True):
            return self._marker("secret", element)
        return self.tree(element, depth + 1)


def _find(text: str) -> list[Span]:
    """Secrets of the text as it stands and of the views on it, deepest first: equal secrets, equal spelling."""
    masked = MARKER.sub(lambda marker: MASK * len(marker[0]), text) if "[REDACTED:" in text else text
    found: list[Span] = []
    for view in reversed(list(views(masked))):
        found += [view.to_source(span) for span in (*engine.find(view.text), *assignments.find(view.text))]
    return found


def _suspects(texts: list[str]) -> set[int]:
    """Numbers of the texts that may hold a secret: one scan of all finds it there or next to it."""
    numbers: list[int] = []
    seen: list[str] = []
    for number, text in enumerate(texts):
        for view in views(text) if text else ():
            numbers.append(number)
            seen.append(view.text)
    ends = list(accumulate(len(text) + len(_BOUNDARY) for text in seen))
    joined = _BOUNDARY.join(seen)
    suspects = set()
    for span in (*engine.find(joined), *assignments.find(joined)):
        first, last = bisect_right(ends, span.start), bisect_right(ends, span.end)
        # A match may have swallowed the beginning of a secret in the next text, hence the neighbours.
        suspects.update(numbers[max(0, first - 1) : last + 2])
    return suspects
