"""``tracemill health``: what fires in monitoring.v_alerts, as a person would read it."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipelines import settings as environment
from pipelines.cli.output import encode_json, print_json
from pipelines.cli.warehouse import ready_warehouse

if TYPE_CHECKING:
    from pipelines.maintenance.alerts import Alert


def health(*, as_json: bool) -> int:
    """Shows the alerts; 1 when one is critical. Raises MonitoringMissingError before the first aggregation."""
    from pipelines.database import connect
    from pipelines.maintenance import alerts

    with connect(ready_warehouse(environment.load()), role=alerts.ROLE, autocommit=True) as connection:
        firing = alerts.firing(connection)
    critical = sum(alert.severity == "critical" for alert in firing)
    next_command = firing[0].command if firing else None
    if as_json:
        print_json(
            {
                "ok": critical == 0,
                "critical": critical,
                "alerts": [asdict(alert) for alert in firing],
                "next_command": next_command,
            }
        )
    elif not firing:
        sys.stdout.write("Nothing fires.\n")
    else:
        sys.stdout.write("\n".join(map(_described, firing)) + "\n")
        count = f"{len(firing)} {'alert' if len(firing) == 1 else 'alerts'}, {critical} critical."
        sys.stdout.write(f"\n{count} Next: {next_command}\n")
    return 1 if critical else 0


def _described(alert: "Alert") -> str:
    where = alert.project_id or "platform"
    evidence = ", ".join(f"{name} {_value(value)}" for name, value in alert.evidence.items())
    return (
        f"{alert.severity.upper():<10}{alert.alert} ({where}): {alert.summary}\n"
        f"{'':<10}{evidence}\n"
        f"{'':<10}→ {alert.command}"
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) else encode_json(value)
