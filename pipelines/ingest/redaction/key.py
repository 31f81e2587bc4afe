"""The key of the hashes that stand for secrets. It lives beside the database, never in it."""

import contextlib
import os
import secrets
from pathlib import Path

from pipelines.settings import Settings, SettingsError

_KEY_BYTES = 32
_MIN_CHARACTERS = 16


def load_key(settings: Settings) -> bytes:
    """The key from the settings, else from ``redaction.key`` under home, which is made when absent.

    Raises SettingsError when the key is too short or its file cannot be read or made.
    """
    if settings.redaction_key is not None:
        return _checked(settings.redaction_key, "TRACEMILL_REDACTION_KEY")
    path = settings.home / "redaction.key"
    try:
        if not path.exists():
            _create(path)
        return _checked(path.read_text("ascii").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"The redaction key {path} cannot be used: {reason}. Make it readable, or set TRACEMILL_REDACTION_KEY."
        ) from None


def _create(path: Path) -> None:
    """Write a new key, complete or not at all; of several processes at once, the first one's key stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(secrets.token_hex(_KEY_BYTES) + "\n", "ascii")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _checked(key: str, where: str) -> bytes:
    if len(key) < _MIN_CHARACTERS:
        raise SettingsError(
            f"{where} holds {len(key)} characters, too few to keep secrets from being guessed; use {_MIN_CHARACTERS} "
            "or more. Hashes made with another key will not match those already stored."
        )
    return key.encode()
