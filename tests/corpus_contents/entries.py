"""What the table of the corpus says of one file, or of one folder that is read as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Contents:
    """What is loaded from it, and what a person should know about that."""

    format: str | None
    """As tracemill recognises it; None where it is no log."""
    rows: Mapping[str, int]
    """Rows by raw table that are there because of it; tables without any are left out."""
    quarantined: int = 0
    problems: tuple[str, ...] = ()
    """Reasons why it, or a part of it, was refused."""
    note: str = ""


def logs(format_: str, executions: int, requests: int, tools: int, *, quarantined: int = 0, note: str = "") -> Contents:
    """A log of a coding agent."""
    rows = {"command_executions": executions, "model_requests": requests, "tool_calls": tools}
    return Contents(format_, _present(rows), quarantined, note=note)


def evaluation(
    format_: str,
    *,
    simulations: int = 0,
    outcomes: int = 0,
    planned: int | None = None,
    scenarios: int = 0,
    configurations: int = 0,
    tools: int = 0,
    failures: int = 0,
    note: str = "",
) -> Contents:
    """Simulations with ``planned`` scenarios (as many as outcomes unless said), of which some have been seen before."""
    rows = {
        "configurations": configurations,
        "config_versions": configurations,
        "scenarios": scenarios,
        "simulations": simulations,
        "simulation_scenarios": outcomes if planned is None else planned,
        "outcomes": outcomes,
        "tool_usage": tools,
        "failure_patterns": failures,
    }
    return Contents(format_, _present(rows), note=note)


def optimization(
    format_: str, *, runs: int, iterations: int = 0, samples: int = 0, problems: tuple[str, ...] = (), note: str = ""
) -> Contents:
    """Runs of an optimizer."""
    rows = {"optimization_runs": runs, "optimization_iterations": iterations, "optimization_samples": samples}
    return Contents(format_, _present(rows), problems=problems, note=note)


def nothing(note: str) -> Contents:
    """Not ingested, and why."""
    return Contents(None, {}, note=note)


def refused(format_: str, note: str) -> Contents:
    """Recognised, and not read."""
    return Contents(format_, {}, problems=("unreadable",), note=note)


def _present(rows: Mapping[str, int]) -> dict[str, int]:
    return {table: count for table, count in rows.items() if count}
