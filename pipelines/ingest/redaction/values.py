"""Whether a value that stands where a secret would stand is one: placeholders, code and prose are not."""

import re
from typing import Final

MARKER: Final = re.compile(r"\[REDACTED:[a-z0-9-]{1,60}:[0-9a-f]{8}\]")
MASK: Final = "\x01"
"""Fills the place of a replacement while a text that has some is looked at again."""

_PLACEHOLDER = re.compile(
    r"\$\{|\$\(|\$[A-Z_][A-Z0-9_]*$|\$[a-z_]+$|<[^<>\s]{0,60}>?$|\{\{|\{[\w.]*\}?$|%\(|%[A-Z_]+%$|\*{3,}|[xX]{3,}$|\.{2,}|…|#\{"
    r"|-{2,}$|_{2,}$|[\W_]+$"
)
_CODE = re.compile(
    r"(?:os|process|self|this|config|cfg|settings|env|args|opts?|options|req|request|ctx|context|secrets|import|params"
    r"|props|data|body|response|res|user|state|vault|environ|kwargs|conf)\b[.\[?]|[A-Za-z_][\w.]{0,60}\(|await$|new$"
)
_SHELL_REFERENCE = re.compile(r"[A-Za-z_][\w.]{0,80}\[")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_HARMLESS_ID = re.compile(r"(?:toolu|msg|req|agent|chatcmpl|resp|call|run|session|sess|srvtoolu)_[A-Za-z0-9]+")
_PATH = re.compile(r"(?:[~.]{0,2}/)?[\w.@-]{1,100}(?:/[\w.@-]{0,100}){1,30}")
_HEX = re.compile(r"(?:[0-9a-f]{7,64}|[0-9A-F]{7,64})")
_MAX_SPACES: Final = 5
"""A quoted text with more is a sentence about a secret rather than one."""
_RANDOM_RUN = re.compile(r"(?=[A-Za-z]{0,7}\d)(?=\d{0,7}[A-Za-z])[A-Za-z0-9]{8}")
_PROSE: Final = (
    "true false null none nil undefined nan yes no on off str string bytes int integer number boolean bool any object "
    "optional required invalid missing incorrect wrong expired empty unset set hidden masked redacted denied failed "
    "failure error errors ok authentication auth bearer basic digest the a an is are was were and or but for to of in "
    "at with without from by as your my our their this that these it its must should shall can could will would may "
    "might not needs need has have had field prompt reset be been if when which who what where how why all some each "
    "based using via default manager policy file name value values type types key keys password passwords token "
    "tokens secret secrets credential credentials input output text placeholder usage count limit there here then "
    "than only also again please use used unauthorized forbidden env environment variable variables login logout hash "
    "hashed hashing generation generator rotation storage handling support authorization"
)
_WORDS: Final = frozenset(_PROSE.split())


def is_value(value: str, *, is_password: bool = True, is_quoted: bool = False, is_code: bool = False) -> bool:
    """Whether a value behind ``password=`` or ``token:`` is a secret rather than a placeholder, code or prose."""
    bare = value.strip().strip("\"'`\\").rstrip(".,;:!?)")
    if len(bare) < (3 if is_password else 6) or len(bare.replace(MASK, "")) < 2:
        return False
    if bare.lower() in _WORDS or _PLACEHOLDER.match(bare):
        return False
    if not is_quoted and (_CODE.match(bare) or _SHELL_REFERENCE.match(bare)):
        return False
    if is_password:
        return True
    if is_quoted:
        first, *others = bare.split()
        return not others or (bare[0].isalnum() and first.lower() not in _WORDS and len(others) <= _MAX_SPACES)
    if bare.isdigit():
        return len(bare) >= 16
    is_word = bare.replace("-", "").replace("_", "").replace(".", "").isalpha()
    return not is_word or (is_code and bare.isalpha() and bare[1:].islower()) or _has_random_case(bare)


def is_certain(value: str) -> bool:
    """Whether a value looks random by itself: letters with digits or mixed cases, and neither id, path nor hash."""
    bare = value.replace(MASK, "").strip().strip("\"'`\\").rstrip(".,;:!?)")
    if len(bare) < 6 or _PLACEHOLDER.match(bare) or _CODE.match(bare) or any(map(str.isspace, bare)):
        return False
    has_digit = any(map(str.isdigit, bare))
    has_letter = any(map(str.isalpha, bare))
    if not has_letter or not (has_digit or _has_random_case(bare)):
        return False
    return not (_UUID.fullmatch(bare) or _HARMLESS_ID.fullmatch(bare) or _HEX.fullmatch(bare) or _is_path(bare))


def looks_random(key: str) -> bool:
    """Whether a key holds eight letters and digits in a row: no name of a function or package does."""
    return _RANDOM_RUN.search(key) is not None


def _has_random_case(value: str) -> bool:
    """Whether capitals are as frequent as in random letters: camel case has fewer, constants have nothing else."""
    return len(value) >= 10 and 0.25 < sum(map(str.isupper, value)) / len(value) < 0.75


def _is_path(value: str) -> bool:
    return "/" in value and _PATH.fullmatch(value) is not None and max(map(len, value.split("/"))) < 24
