"""Log files on disk: finding them, telling them apart, opening them.

A file is identified by a keyed hash of device and absolute path, because a path may hold a secret; what it
holds is told apart by a keyed hash of its first bytes, so that a grown file differs from a replaced one, and of
those before the place from which reading goes on, so that it differs from one that was rewritten in place.
"""

import gzip
import hmac
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO, cast

HEAD_BYTES = 256 * 1024
FEW_LINES_BYTES = 8 * 1024
"""Of most logs they tell as much as the whole head."""
_IDENTITY_BYTES = 4096
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class LogFile:
    """One file as found on disk; reading it may still fail."""

    path: Path
    size: int
    modified_at: datetime
    named: bool
    """Named by the person rather than found in a folder: not being a log is then a problem."""


class Unreadable(Exception):
    """A file cannot be read; the message says why in words."""


@dataclass(frozen=True)
class LeftOut:
    """What lies under the paths and cannot be looked at; the rest is found nevertheless."""

    path: Path
    reason: str
    """End of a sentence that begins with the path."""


def discover(paths: Iterable[Path]) -> list[Path]:
    """Regular files under ``paths``, sorted, each once; symbolic links to folders are not followed."""
    return [file.path for file in find(paths)]


def find(paths: Iterable[Path], left_out: list[LeftOut] | None = None) -> list[LogFile]:
    """Like ``discover``, with what ``stat`` says; what cannot be looked at is added to ``left_out``.

    Raises Unreadable for a path that does not exist.
    """
    left_out = [] if left_out is None else left_out
    found: dict[str, LogFile] = {}
    for path in paths:
        root = Path(os.path.realpath(path.expanduser()))
        try:
            of_root = root.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise Unreadable(f"{path} does not exist; give a log file or a folder that holds some.") from None
        except OSError as error:
            left_out.append(LeftOut(root, _why_not(error)))
            continue
        is_file = not S_ISDIR(of_root.st_mode)
        entries = [(str(root), of_root)] if is_file else _walk(str(root), left_out)
        for name, stat in entries:
            found.setdefault(
                name,
                LogFile(Path(name), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC), named=is_file),
            )
    return [found[name] for name in sorted(found)]


def _walk(folder: str, left_out: list[LeftOut]) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
    except OSError as error:
        left_out.append(LeftOut(Path(folder), f"cannot be listed: {error.strerror}; check its permissions."))
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, left_out)
            elif entry.is_file():
                yield os.path.realpath(entry.path) if entry.is_symlink() else entry.path, entry.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            left_out.append(LeftOut(Path(entry.path), _why_not(error)))


def _why_not(error: OSError) -> str:
    return f"cannot be looked at: {error.strerror}; mend or remove it."


def keyed_hash(key: bytes, *parts: str | bytes) -> str:
    """Hex HMAC-SHA-256 of the parts, 128 bits of it: equal inputs stay equal, and say nothing without the key."""
    joined = b"\x00".join(part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part for part in parts)
    return hmac.digest(key, joined, "sha256")[:16].hex()


def read_head(path: Path, size: int = HEAD_BYTES) -> bytes:
    """First bytes of the file, decompressed. Raises Unreadable."""
    with _opened(path) as stream:
        try:
            return stream.read(size)
        except Exception as error:
            raise Unreadable(f"it cannot be decompressed ({error}); is it complete?") from error


def open_at(path: Path, offset: int) -> BinaryIO:
    """A decompressed stream positioned ``offset`` bytes into it. Raises Unreadable."""
    stream = _opened(path)
    if stream.seekable():
        stream.seek(offset)
    else:
        while offset > 0 and (skipped := len(stream.read(min(offset, 1 << 20)))):
            offset -= skipped
    return stream


def _opened(path: Path) -> BinaryIO:
    try:
        raw = path.open("rb")
    except OSError as error:
        raise Unreadable(f"{error.strerror or error}; check that the file exists and may be read.") from error
    try:
        magic = raw.read(4)
        raw.seek(0)
    except OSError as error:
        raw.close()
        raise Unreadable(f"{error.strerror or error}; check the disk that it lies on.") from error
    if magic.startswith(_GZIP_MAGIC):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if magic == _ZSTD_MAGIC:
        import zstandard

        return cast("BinaryIO", zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    return raw


def content_key(key: bytes, head: bytes) -> str:
    """Length and keyed hash of the first 4 KiB, or of all there is of a shorter file."""
    start = head[:_IDENTITY_BYTES]
    return f"{len(start)}:{keyed_hash(key, start)}"


def has_content_key(key: bytes, head: bytes, expected: str) -> bool:
    """Whether the file still begins with what ``expected`` was made of: it may have grown since."""
    length = int(expected.partition(":")[0])
    return len(head) >= length and content_key(key, head[:length]) == expected


def tail_key(key: bytes, stream: BinaryIO, offset: int) -> str | None:
    """Length and keyed hash of the 4 KiB before ``offset``; where the stream stands does not change.

    None for a compressed file: its bytes could be had only by decompressing all before them, and what is compressed
    is no longer written to.
    """
    if not isinstance(stream, io.BufferedReader):
        return None
    start = max(offset - _IDENTITY_BYTES, 0)
    tail = os.pread(stream.fileno(), offset - start, start)
    return f"{len(tail)}:{keyed_hash(key, tail)}"


def has_tail_key(key: bytes, path: Path, offset: int, expected: str | None) -> bool:
    """Whether what ``expected`` was made of still stands before ``offset``; None tells nothing. Raises Unreadable."""
    if expected is None:
        return True
    with open_at(path, 0) as stream:
        return tail_key(key, stream, offset) == expected
