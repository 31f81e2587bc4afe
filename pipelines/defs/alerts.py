"""Alerts: every quarter of an hour what fires and what has cleared, and at once what failed in Dagster itself.

| name                 | starts                                         | as delivered                    |
|----------------------|------------------------------------------------|---------------------------------|
| send_alerts_schedule | every 15 minutes: send what is new             | running where a channel is named |
| run_failures         | a run that failed: send that                   | running where a channel is named |

Without a webhook or a mail server nobody but the log would be told, so both stay off until somebody turns them on.
"""

import re

import dagster as dg

from pipelines import settings
from pipelines.defs.resources import Warehouse
from pipelines.maintenance import alerts
from pipelines.maintenance.senders import senders

_MODULE = re.compile(r"^(\w+\.)+")
"""What stands before the name of an exception."""
_HAS_CHANNEL = settings.load().alerts.has_channel


@dg.op
def tell(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    """Send what channels have not been told; a channel that took nothing fails the run, and is told the next time."""
    channels = senders(warehouse.settings().alerts, context.log.warning)
    with warehouse.connect(alerts.ROLE) as connection:
        try:
            alerts.note_firing(connection, [sender.channel for sender in channels])
        except alerts.MonitoringMissingError as error:
            context.log.warning(str(error))
        delivery = alerts.deliver(connection, channels)
    context.add_output_metadata({"sent": delivery.sent, "cleared": delivery.cleared, "failures": delivery.failures})
    if delivery.failures:
        raise dg.Failure(" ".join(delivery.failures.values()))


@dg.job
def send_alerts() -> None:
    """Tell people what fires in monitoring.v_alerts, and what no longer does, once each."""
    tell()


send_alerts_schedule = dg.ScheduleDefinition(
    name="send_alerts_schedule",
    job=send_alerts,
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING if _HAS_CHANNEL else dg.DefaultScheduleStatus.STOPPED,
)


@dg.run_failure_sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING if _HAS_CHANNEL else dg.DefaultSensorStatus.STOPPED,
)
def run_failures(context: dg.RunFailureSensorContext, warehouse: Warehouse) -> dg.SkipReason | None:
    """Tell people of a run that failed. Noted first: what a dead channel misses, the next delivery sends."""
    run = context.dagster_run
    if run.job_name == send_alerts.name:
        return dg.SkipReason("A delivery that failed cannot be told by the same way; the next one tries again.")
    channels = senders(warehouse.settings().alerts, context.log.warning)
    with warehouse.connect(alerts.ROLE) as connection:
        alerts.note_failed_run(
            connection, [sender.channel for sender in channels],
            job=run.job_name, run_id=run.run_id, detail=_detail(context),
        )  # fmt: skip
        delivery = alerts.deliver(connection, channels)
    if delivery.failures:
        raise dg.Failure(" ".join(delivery.failures.values()))
    return None


def _detail(context: dg.RunFailureSensorContext) -> str:
    """What the steps that failed said, else what the run did."""
    errors = [event.step_failure_data.error for event in context.get_step_failure_events()]
    spoken = [_MODULE.sub("", (error.cause or error).message) for error in errors if error is not None]
    return " ".join(spoken) or context.failure_event.message or "without a reason"
