"""Command text → words, as a shell would split it, except that nothing is an error.

A quote that is never closed is an ordinary character; an apostrophe inside a word does not open one.
"""

import re

_WORD_WITHOUT_QUOTES = re.compile(r"[^\s\"']+")
_UNTIL = {'"': re.compile(r'((?:[^"\\]|\\.)*+)"', re.DOTALL), "'": re.compile(r"([^']*+)'")}
_ESCAPED = re.compile(r'\\(["\\])')


def split(text: str) -> list[str]:
    """Words of the text in order; quotes around a word, or after ``=``, are taken off. Linear in the text."""
    if '"' not in text and "'" not in text:
        return text.split()
    words: list[str] = []
    word = ""
    position, end = 0, len(text)
    never_closed: set[str] = set()
    while position < end:
        character = text[position]
        if character.isspace():
            if word:
                words.append(word)
                word = ""
            position += 1
        elif character in _UNTIL:
            closed = None
            if (not word or word[-1] == "=") and character not in never_closed:
                closed = _UNTIL[character].match(text, position + 1)
                if closed is None:
                    never_closed.add(character)
            if closed is None:
                word += character
                position += 1
            else:
                word += _ESCAPED.sub(r"\1", closed[1]) if character == '"' else closed[1]
                position = closed.end()
        else:
            plain = _WORD_WITHOUT_QUOTES.match(text, position)
            assert plain is not None  # noqa: S101 - the character is neither space nor quote
            word += plain[0]
            position = plain.end()
    if word:
        words.append(word)
    return words
