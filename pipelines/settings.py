"""Settings of tracemill: the only module that reads the environment.

Every variable stands in ``.env.example`` with its meaning. A plain dataclass, because each command line call
pays for the imports made here.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent


class SettingsError(ValueError):
    """A variable of the environment holds something that cannot be used."""


EmbedderKind = Literal["built-in", "openai", "sentence-transformers"]


@dataclass(frozen=True)
class EmbedderSettings:
    """What turns texts into vectors."""

    kind: EmbedderKind = "built-in"
    model: str | None = None
    """Name of the model; None for the built-in one only."""
    url: str | None = None
    """Base address of an OpenAI-compatible endpoint, without ``/embeddings``; for ``openai`` only."""
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class AlertSettings:
    """Where alerts are sent, besides the log."""

    webhook_url: str | None = field(default=None, repr=False)
    """Address that takes Slack-compatible JSON; who knows it may post, so it is a secret."""
    smtp_url: str | None = field(default=None, repr=False)
    """``smtp://`` (STARTTLS where offered) or ``smtps://``, user and password in it."""
    mail_from: str = ""
    mail_to: tuple[str, ...] = ()

    @property
    def has_channel(self) -> bool:
        """Whether anybody is told who does not read the log."""
        return bool(self.webhook_url or self.smtp_url)


@dataclass(frozen=True)
class Settings:
    """Where state lives, which database to use, what to watch."""

    home: Path
    """Embedded cluster, Dagster home, redaction key, archive."""
    database_url: str | None
    """DSN of the warehouse, passed on unchanged; None means the embedded server under ``home``."""
    reader_database_url: str | None
    """DSN of a login without rights of its own that may SET ROLE app_readonly; used by ``tracemill query``."""
    watched_folders: tuple[Path, ...]
    """Folders whose new logs of coding agents the sensor ingests."""
    optimization_folders: tuple[Path, ...] = ()
    """Folders into which optimizers write."""
    evaluation_folders: tuple[Path, ...] = ()
    """Folders into which evaluations write."""
    project_prefixes: Mapping[str, str] = field(default_factory=dict)
    """Path prefix of a log's working directory → project id; the longest prefix wins."""
    device_id: str = "unknown"
    """Name of this machine, kept as provenance."""
    redaction_key: str | None = None
    """Key of the keyed hashes that replace secrets; None means the key file under ``home``."""
    embedder: EmbedderSettings = EmbedderSettings()
    alerts: AlertSettings = AlertSettings()

    @property
    def all_watched_folders(self) -> tuple[Path, ...]:
        """Every folder whose new files are ingested by themselves."""
        return (*self.watched_folders, *self.optimization_folders, *self.evaluation_folders)

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's instance."""
        return self.home / "dagster"

    @property
    def archive(self) -> Path:
        """Folder of the months that left the database."""
        return self.home / "archive"

    @property
    def dbt_project(self) -> Path:
        """Folder of the dbt project, in the checkout."""
        return REPOSITORY / "dbt_project"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises SettingsError naming the variable that cannot be used."""
    env = os.environ if environment is None else environment
    return Settings(
        home=Path(env.get("TRACEMILL_HOME") or ".tracemill").expanduser().absolute(),
        database_url=env.get("TRACEMILL_DATABASE_URL") or env.get("DATABASE_URL") or None,
        reader_database_url=env.get("TRACEMILL_READER_DATABASE_URL") or None,
        watched_folders=_folders(env, "TRACEMILL_WATCHED_FOLDERS") or _client_folders(env),
        optimization_folders=_folders(env, "TRACEMILL_OPTIMIZATION_FOLDERS"),
        evaluation_folders=_folders(env, "TRACEMILL_EVALUATION_FOLDERS"),
        project_prefixes=_project_prefixes(env.get("TRACEMILL_PROJECTS", "")),
        device_id=env.get("TRACEMILL_DEVICE_ID") or socket.gethostname(),
        redaction_key=env.get("TRACEMILL_REDACTION_KEY") or None,
        embedder=_embedder(env),
        alerts=_alerts(env),
    )


def wants_traceback(environment: Mapping[str, str] | None = None) -> bool:
    """Whether errors show their traceback; apart from Settings, because those may be what is wrong."""
    return bool((os.environ if environment is None else environment).get("TRACEMILL_DEBUG"))


def _folders(env: Mapping[str, str], name: str) -> tuple[Path, ...]:
    return tuple(Path(path).expanduser() for path in env.get(name, "").split(os.pathsep) if path)


def _client_folders(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Where Claude Code and Codex log to, as far as they have; Claude Code's folder when neither has."""
    claude = Path(env.get("CLAUDE_CONFIG_DIR") or "~/.claude").expanduser() / "projects"
    codex = Path(env.get("CODEX_HOME") or "~/.codex").expanduser() / "sessions"
    return tuple(folder for folder in (claude, codex) if folder.is_dir()) or (claude,)


def _project_prefixes(text: str) -> dict[str, str]:
    prefixes = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        prefix, separator, project = entry.rpartition("=")
        if not separator or not prefix or not project:
            raise SettingsError(
                f"TRACEMILL_PROJECTS: {entry!r} is not PATH_PREFIX=PROJECT; separate entries by commas."
            )
        prefixes[prefix] = project
    return prefixes


def _embedder(env: Mapping[str, str]) -> EmbedderSettings:
    kind = env.get("TRACEMILL_EMBEDDER") or "built-in"
    model = env.get("TRACEMILL_EMBEDDING_MODEL") or None
    url = env.get("TRACEMILL_EMBEDDING_URL") or None
    key = env.get("TRACEMILL_EMBEDDING_API_KEY") or None
    if kind not in get_args(EmbedderKind):
        raise SettingsError(f"TRACEMILL_EMBEDDER: {kind!r} is not known; choose {', '.join(get_args(EmbedderKind))}.")
    if kind == "built-in":
        return EmbedderSettings()
    if model is None or len(model) > 200 or not model.isprintable():
        raise SettingsError(f"TRACEMILL_EMBEDDING_MODEL must name the model that {kind} is to use, in one line.")
    if kind == "openai" and not _is_web_address(url):
        raise SettingsError(
            "TRACEMILL_EMBEDDING_URL must be the address of an OpenAI-compatible endpoint, for example "
            "https://api.openai.com/v1, without a password in it."
        )
    return EmbedderSettings(cast(EmbedderKind, kind), model, url, key)


def _alerts(env: Mapping[str, str]) -> AlertSettings:
    webhook = env.get("TRACEMILL_ALERT_WEBHOOK_URL") or None
    server = env.get("TRACEMILL_ALERT_SMTP_URL") or None
    sender = env.get("TRACEMILL_ALERT_MAIL_FROM", "").strip()
    recipients = tuple(part.strip() for part in env.get("TRACEMILL_ALERT_MAIL_TO", "").split(",") if part.strip())
    if webhook is not None and not _is_web_address(webhook):
        raise SettingsError("TRACEMILL_ALERT_WEBHOOK_URL must be a web address without a user in it.")
    if server is None:
        if sender or recipients:
            raise SettingsError(
                "TRACEMILL_ALERT_SMTP_URL must name the mail server, as smtp://host:587 or smtps://host."
            )
        return AlertSettings(webhook)
    if not _is_mail_server(server):
        raise SettingsError("TRACEMILL_ALERT_SMTP_URL must be smtp://host:port or smtps://host:port.")
    if not recipients or not all(map(_is_mail_address, (sender, *recipients))):
        raise SettingsError(
            "TRACEMILL_ALERT_MAIL_FROM and TRACEMILL_ALERT_MAIL_TO must be addresses such as ops@example.com, "
            "several separated by commas."
        )
    return AlertSettings(webhook, server, sender, recipients)


def _is_mail_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_mail_address(text: str) -> bool:
    name, separator, domain = text.partition("@")
    return bool(name and separator and domain) and text.isascii() and text.isprintable() and " " not in text


def _is_web_address(url: str | None) -> bool:
    try:
        parts = urlsplit(url or "")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False
