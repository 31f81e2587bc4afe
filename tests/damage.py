"""Damages log lines, and checks that whatever a reader then sees is counted as good, bad or blank."""

import json
import random

from source_files import chunks_of

POISON = [
    b"\xff", b"\0", rb"\u0000", rb"\ud800", b"\xef\xbb\xbf", b"\r", "\u2028".encode(), b"NaN", b"1e999", b"9" * 5000,
    b"-1", b"[" * 10_000, b'"', b"{", b"}", b"null", b"true", b"[]", b"{}", b"\\", b'"type":"user",', b'"a":1,"a":2,',
]  # fmt: skip


def accounted(data: bytes, source: str) -> None:
    """Fail unless each line of ``data`` is accounted for; no error may escape."""
    chunks = chunks_of(data, source)
    good = sum(chunk.good_lines for chunk in chunks)
    bad = sum(len(chunk.bad) for chunk in chunks)
    blank = sum(chunk.blank_lines for chunk in chunks)
    lines = data.split(b"\n")[:-1]
    assert good + bad + blank == len(lines)
    assert blank == sum(not line.removeprefix(b"\xef\xbb\xbf").strip() for line in lines)
    assert all(line.reason and line.detail for chunk in chunks for line in chunk.bad)
    json.dumps(chunks[-1].state)


def mutated(line: bytes, random: random.Random) -> bytes:
    """A real line with one to three accidents."""
    for _ in range(random.randint(1, 3)):
        where = random.randrange(len(line) + 1)
        accident = random.randrange(6)
        if accident == 0:
            line = line[:where]
        elif accident == 1:
            line = line[:where] + random.choice(POISON) + line[where:]
        elif accident == 2:
            line = line[:where] + line[where + random.randint(1, 30) :]
        elif accident == 3:
            line = line + line
        elif accident == 4:
            value = random.choice([b"null", b"1", b'""', b"[]", b"{}", b'[{"type":1}]', b"1e400", b'"\\ud800"'])
            head, colon, tail = line.partition(random.choice([b'": ', b'":']))
            line = head + colon + value + tail[tail.find(b",") :] if colon else line
        else:
            line = line[:where] + bytes([random.randrange(256)]) + line[where + 1 :]
    return line.replace(b"\n", b" ")


def survives_ten_thousand_damaged_lines(lines: list[bytes], source: str) -> None:
    """Fifty files, each an intact line and two hundred damaged ones."""
    dice = random.Random(20260302)
    for _ in range(50):
        damaged = [mutated(dice.choice(lines), dice) for _ in range(200)]
        accounted(b"".join(line + b"\n" for line in [lines[0], *damaged]), source)
