"""Channels that alerts are sent through: the log, a webhook that takes Slack's JSON, e-mail.

Every attempt has a time limit and there are few of them. A channel that fails says so in a sentence without
addresses of webhooks or passwords in it: both are secrets.
"""

import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipelines.settings import AlertSettings

_TIMEOUT_SECONDS: Final = 10
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 0.5
_COLOURS: Final = {"critical": "#b00020", "warning": "#e6a100"}
_CLEARED_COLOUR: Final = "#2e7d32"


class SendError(Exception):
    """A channel took no message; the message of the error is a sentence for the user."""


@dataclass(frozen=True)
class Notice:
    """One thing to tell: that an alert fires, or that it does no more."""

    title: str
    severity: str
    is_cleared: bool
    body: str
    """Sentence, evidence and command, a line each."""

    def __str__(self) -> str:
        return f"{self.title}\n{self.body}"


class Sender(Protocol):
    """A channel."""

    channel: str

    def send(self, notices: Sequence[Notice]) -> None:
        """Tell all of it in one message. Raises SendError when nobody was told."""


class LogSender:
    """Writes to whatever log it is given."""

    channel = "log"

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def send(self, notices: Sequence[Notice]) -> None:
        """One entry a notice."""
        for notice in notices:
            self._write(str(notice))


class WebhookSender:
    """Posts JSON that Slack, and what is compatible with it, shows as a message."""

    channel = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url
        self._host = urlsplit(url).hostname
        self._session = requests.Session()
        self._session.trust_env = False
        retry = Retry(
            total=_ATTEMPTS - 1, redirect=0, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None,
            backoff_factor=_PAUSE_SECONDS, retry_after_max=_TIMEOUT_SECONDS, raise_on_status=False,
        )  # fmt: skip
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def send(self, notices: Sequence[Notice]) -> None:
        """One post; any answer but 2xx is a failure."""
        try:
            answer = self._session.post(
                self._url, json=slack_message(notices), timeout=_TIMEOUT_SECONDS, allow_redirects=False
            )
        except requests.RequestException as error:
            kind = type(error).__name__
            raise SendError(
                f"The webhook at {self._host} cannot be reached ({kind}): check TRACEMILL_ALERT_WEBHOOK_URL."
            ) from None
        if not 200 <= answer.status_code < 300:
            raise SendError(
                f"The webhook at {self._host} answers HTTP {answer.status_code}: check TRACEMILL_ALERT_WEBHOOK_URL."
            )


class MailSender:
    """Sends one message to all recipients through an SMTP server."""

    channel = "e-mail"

    def __init__(self, settings: AlertSettings) -> None:
        parts = urlsplit(settings.smtp_url or "")
        self._is_encrypted = parts.scheme == "smtps"
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (465 if self._is_encrypted else 587)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._from, self._to = settings.mail_from, settings.mail_to

    def send(self, notices: Sequence[Notice]) -> None:
        """Refusals that may pass are tried again."""
        message = self._message(notices)
        for attempt in range(_ATTEMPTS):
            try:
                return self._submit(message)
            except UnicodeError:
                raise SendError(
                    f"The mail server {self._host}:{self._port} cannot be asked: its name, the user or the password in "
                    "TRACEMILL_ALERT_SMTP_URL has characters that SMTP does not know."
                ) from None
            except (OSError, smtplib.SMTPException) as error:
                if attempt + 1 == _ATTEMPTS or not _may_pass(error):
                    raise SendError(
                        f"The mail server {self._host}:{self._port} took no message ({_reason(error)}): "
                        "check TRACEMILL_ALERT_SMTP_URL."
                    ) from None
                time.sleep(_PAUSE_SECONDS * 2**attempt)
        return None

    def _submit(self, message: EmailMessage) -> None:
        context = ssl.create_default_context()
        client = (
            smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_SECONDS, context=context)
            if self._is_encrypted
            else smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        )
        with client:
            client.ehlo()
            if not self._is_encrypted and client.has_extn("starttls"):
                client.starttls(context=context)
                client.ehlo()
            elif self._user and not self._is_encrypted:
                raise smtplib.SMTPNotSupportedError("it offers no encryption, so the password was not sent")
            if self._user:
                client.login(self._user, self._password)
            client.send_message(message)

    def _message(self, notices: Sequence[Notice]) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = f"tracemill: {headline(notices)}"
        message["From"] = self._from
        message["To"] = ", ".join(self._to)
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = make_msgid(domain=self._from.rpartition("@")[2])
        message.set_content("\n\n".join(map(str, notices)) + "\n")
        return message


def senders(settings: AlertSettings, write: Callable[[str], None]) -> list[Sender]:
    """The log through ``write``, and the channels that the settings name."""
    found: list[Sender] = [LogSender(write)]
    if settings.webhook_url:
        found.append(WebhookSender(settings.webhook_url))
    if settings.smtp_url:
        found.append(MailSender(settings))
    return found


def headline(notices: Sequence[Notice]) -> str:
    """How many alerts fire and how many have cleared, in a few words."""
    fired = sum(not notice.is_cleared for notice in notices)
    critical = sum(not notice.is_cleared and notice.severity == "critical" for notice in notices)
    parts = []
    if fired:
        parts.append(f"{fired} {'alert' if fired == 1 else 'alerts'}" + (f", {critical} critical" if critical else ""))
    if fired < len(notices):
        parts.append(f"{len(notices) - fired} cleared")
    return "; ".join(parts)


def slack_message(notices: Sequence[Notice]) -> dict[str, Any]:
    """The JSON of an incoming webhook."""
    return {
        "text": f"tracemill: {headline(notices)}",
        "attachments": [
            {
                "color": _CLEARED_COLOUR if notice.is_cleared else _COLOURS[notice.severity],
                "fallback": _escaped(notice.title),
                "title": _escaped(notice.title),
                "text": _escaped(notice.body),
            }
            for notice in notices
        ],
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(400 <= code < 500 for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return 400 <= error.smtp_code < 500
    return isinstance(error, smtplib.SMTPServerDisconnected) or not isinstance(error, smtplib.SMTPException)


def _reason(error: Exception) -> str:
    """What happened; words of the server may hold what was sent to it, so only its code is told."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"SMTP {error.smtp_code}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return str(error)
    return type(error).__name__
