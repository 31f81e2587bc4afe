"""Shortening texts that are still to be redacted."""

import re
from typing import Final

LONGEST_WORD: Final = 4096
_ENDS_A_WORD = re.compile(r"[\s\"',;]|[^\x00-\x7f]")
"""Secrets are ASCII, and many languages write no spaces."""


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters of a text that is still to be redacted.

    The cut is made before the word that it would fall into: half of a secret is not recognised as one.
    """
    if len(text) <= limit:
        return text
    earliest = max(0, limit - LONGEST_WORD)
    end = limit
    while end > earliest and not _ENDS_A_WORD.match(text, end):
        end -= 1
    return text[:end]
