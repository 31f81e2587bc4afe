"""Telling people what fires in ``monitoring.v_alerts``: once when it begins, once when it is over.

Protocol. ``note_firing`` writes what fires, and what does no more, to ``ops.alert_states``, one row per alert and
channel. ``deliver`` sends what a channel has not been told, and a row advances in the transaction that has sent it:
a channel that is dead loses nothing, it is told when it is back. A process that dies between the two tells it again.
A run that failed is noted the same way and forgotten once it was told: there is nothing to clear.

The connection must act as ``ROLE``, in autocommit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from pipelines.maintenance.senders import Notice, Sender, SendError

ROLE = "tracemill_owner"
RUN_FAILED = "run_failed"
_BATCH = 20
"""Notices in one message."""
_LONGEST_DETAIL = 500
_MISSING = "The monitoring views are not there yet: build them with `tracemill aggregate`."

_FIRING = """
select alert_key, alert, severity, project_id, subject, summary, evidence, command
from monitoring.v_alerts
order by severity, alert, project_id, subject
"""

_NOTE_FIRING = """
with firing as (
    select a.*, c.channel
    from monitoring.v_alerts as a
    cross join unnest(%(channels)s::text[]) as c (channel)
),
cleared as (
    update ops.alert_states as s
    set cleared_at = now()
    where s.cleared_at is null
        and s.alert <> %(run_failed)s
        and not exists (select from firing as f where f.alert_key = s.alert_key and f.channel = s.channel)
)
insert into ops.alert_states as s
    (alert_key, channel, alert, severity, project_id, subject, summary, evidence, command)
select alert_key, channel, alert, severity, project_id, subject, summary, evidence, command
from firing
order by alert_key, channel
on conflict (alert_key, channel) do update
set severity = excluded.severity,
    summary = excluded.summary,
    evidence = excluded.evidence,
    command = excluded.command,
    -- What became critical is told again.
    announced_at = case
        when excluded.severity = 'critical' and s.severity = 'warning' then null
        else s.announced_at
    end,
    cleared_at = null
"""

_NOTE_FAILED_RUN = """
insert into ops.alert_states (alert_key, channel, alert, severity, subject, summary, evidence, command)
select
    %(run_failed)s || ':*:' || %(run_id)s, channel, %(run_failed)s, 'critical', %(job)s,
    left(audit.redact_text(%(summary)s), %(longest)s), %(evidence)s, 'tracemill ui, then: Runs, ' || left(%(run_id)s, 8)
from unnest(%(channels)s::text[]) as channel
on conflict do nothing
"""

_PENDING = """
select alert_key, alert, severity, project_id, subject, summary, evidence, command, fired_at, announced_at, cleared_at
from ops.alert_states
where channel = %s and (announced_at is null or cleared_at is not null)
order by severity, fired_at, alert_key
limit %s
for update skip locked
"""

_ADVANCE = "update ops.alert_states set announced_at = now() where channel = %(channel)s and alert_key = any(%(keys)s)"

_FORGET = "delete from ops.alert_states where channel = %(channel)s and alert_key = any(%(keys)s)"


class MonitoringMissingError(Exception):
    """The monitoring views do not exist; the message is a sentence for the user."""


@dataclass(frozen=True)
class Alert:
    """One row of v_alerts."""

    alert_key: str
    alert: str
    severity: Literal["critical", "warning"]
    project_id: str | None
    """None where it concerns the platform."""
    subject: str
    summary: str
    evidence: Mapping[str, Any]
    """Numbers and the limits they passed."""
    command: str
    """What mends it, or shows where to look."""


@dataclass(frozen=True)
class _Pending(Alert):
    """One row of ops.alert_states."""

    fired_at: datetime
    announced_at: datetime | None
    cleared_at: datetime | None

    @property
    def is_clearance(self) -> bool:
        return self.announced_at is not None

    def notice(self) -> Notice:
        where = " ".join(filter(None, [self.project_id, self.subject]))
        state = "CLEARED" if self.is_clearance else self.severity.upper()
        since = f"since {self.fired_at:%Y-%m-%d %H:%M} UTC"
        if self.is_clearance:
            return Notice(f"{state} {self.alert}: {where}", self.severity, True, f"It fired {since}: {self.summary}")
        evidence = ", ".join(f"{name} {value}" for name, value in self.evidence.items() if value is not None)
        body = [f"{self.summary} ({since})", evidence, f"→ {self.command}"]
        return Notice(f"{state} {self.alert}: {where}", self.severity, False, "\n".join(filter(None, body)))


@dataclass
class Delivery:
    """What one delivery did."""

    sent: dict[str, int] = field(default_factory=dict)
    """Channel → alerts told to fire."""
    cleared: dict[str, int] = field(default_factory=dict)
    """Channel → alerts told to be over."""
    failures: dict[str, str] = field(default_factory=dict)
    """Channel → why it took no message, as a sentence."""


def firing(connection: psycopg.Connection[Any]) -> list[Alert]:
    """What fires now, critical first. Raises MonitoringMissingError."""
    try:
        with connection.cursor(row_factory=class_row(Alert)) as cursor:
            return cursor.execute(_FIRING).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise MonitoringMissingError(_MISSING) from None


def note_firing(connection: psycopg.Connection[Any], channels: Sequence[str]) -> None:
    """Write down, for each channel, what fires and what does no more. Raises MonitoringMissingError."""
    try:
        with connection.transaction():
            connection.execute("delete from ops.alert_states where channel <> all(%s)", [list(channels)])
            connection.execute(_NOTE_FIRING, {"channels": list(channels), "run_failed": RUN_FAILED})
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise MonitoringMissingError(_MISSING) from None


def note_failed_run(
    connection: psycopg.Connection[Any], channels: Sequence[str], *, job: str, run_id: str, detail: str
) -> None:
    """Write down that a run of Dagster failed; the same run is noted once."""
    # Cut after it was redacted: of a secret that is cut in two, the first half is not recognised.
    summary = f"A run of {job} failed: {' '.join(detail.split())}"
    connection.execute(
        _NOTE_FAILED_RUN,
        {
            "run_failed": RUN_FAILED, "channels": list(channels), "job": job, "run_id": run_id, "summary": summary,
            "longest": _LONGEST_DETAIL, "evidence": Jsonb({"job": job, "run_id": run_id}),
        },
    )  # fmt: skip


def deliver(connection: psycopg.Connection[Any], senders: Sequence[Sender]) -> Delivery:
    """Tell every channel what it has not been told. A channel that fails is left for the next time."""
    delivery = Delivery()
    for sender in senders:
        try:
            while told := _deliver_batch(connection, sender):
                _count(delivery.cleared, sender.channel, sum(row.is_clearance for row in told))
                _count(delivery.sent, sender.channel, sum(not row.is_clearance for row in told))
        except SendError as error:
            delivery.failures[sender.channel] = str(error)
    return delivery


def _deliver_batch(connection: psycopg.Connection[Any], sender: Sender) -> list[_Pending]:
    with connection.transaction():
        with connection.cursor(row_factory=class_row(_Pending)) as cursor:
            pending = cursor.execute(_PENDING, [sender.channel, _BATCH]).fetchall()
        if not pending:
            return []
        sender.send([row.notice() for row in pending])
        done = [row.alert_key for row in pending if row.is_clearance or row.alert == RUN_FAILED]
        begun = [row.alert_key for row in pending if row.alert_key not in done]
        connection.execute(_FORGET, {"channel": sender.channel, "keys": done})
        connection.execute(_ADVANCE, {"channel": sender.channel, "keys": begun})
        return pending


def _count(counts: dict[str, int], channel: str, more: int) -> None:
    if more:
        counts[channel] = counts.get(channel, 0) + more
