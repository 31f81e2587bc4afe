"""``tracemill diff``: what changed between two versions of a configuration, who agreed, and what it did."""

import dataclasses
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines import settings as environment
from pipelines.cli import reader
from pipelines.cli.errors import CommandError
from pipelines.cli.output import encode_json, format_table, print_json

if TYPE_CHECKING:
    from pipelines.enrichment import Change
    from pipelines.enrichment.changes import Effect, Measures
    from pipelines.ingest.config_diffs import ConfigDiff

_SECONDS = 60


def diff(configuration: str, numbers: tuple[int, int] | None, *, project: str | None, as_json: bool) -> int:
    """Prints the change. Raises CommandError that names what there is when it cannot."""
    from pipelines.enrichment import UnknownConfiguration, read_change
    from pipelines.ingest.config_diffs import ConfigVersion, config_diff

    settings = environment.load()
    chosen = reader.choose_project(settings, project)
    with reader.session(settings, project=chosen, seconds=_SECONDS) as connection:
        try:
            change = read_change(connection, project=chosen, configuration=configuration, numbers=numbers)
        except UnknownConfiguration as error:
            raise CommandError(str(error)) from None
    before, after = (
        ConfigVersion(version.version_number, version.raw_yaml, version.parsed_config)
        for version in (change.before, change.after)
    )
    difference = config_diff(before, after)
    if as_json:
        print_json(_as_json(chosen, change, difference))
    else:
        sys.stdout.write("\n".join(_in_words(change, difference)) + "\n")
    return 0


def _as_json(project: str, change: "Change", difference: "ConfigDiff") -> dict[str, Any]:
    return {
        "project": project,
        "configuration": change.after.name,
        **{
            side: {"version": version.version_number, "model": version.model, "created_at": version.created_at}
            for side, version in (("before", change.before), ("after", change.after))
        },
        "diff_yaml": difference.diff_yaml,
        "change_summary": difference.change_summary,
        "decision": dataclasses.asdict(change.decision) if change.decision else None,
        "effect": dataclasses.asdict(change.effect) if change.effect else None,
    }


def _in_words(change: "Change", difference: "ConfigDiff") -> Iterator[str]:
    first, last = change.before.version_number, change.after.version_number
    yield f"{change.after.name}: version {first} → {last}"
    if difference.diff_yaml is None:
        yield "The diff is too long to show: both texts are raw_yaml in config_versions."
    else:
        yield difference.diff_yaml.rstrip("\n")
    yield ""
    yield from _summary(difference.change_summary)
    yield _decision(change)
    if change.effect is None:
        yield "Effect: not measured, no scenario was run with both versions."
    else:
        yield from _effect(change.effect, first, last)


def _summary(summary: dict[str, Any]) -> Iterator[str]:
    if not any(summary.values()):
        yield "No value changed: only the text did."
    for path, (old, new) in summary["changed"].items():
        yield f"changed  {path}: {encode_json(old)} → {encode_json(new)}"
    for kind in ("added", "removed"):
        for path, value in summary[kind].items():
            yield f"{kind:<8} {path}: {encode_json(value)}"


def _decision(change: "Change") -> str:
    if change.decision is None:
        return "Approval: none was asked for between these two versions."
    if change.decision.decided_by is None:
        return f"Approval: {change.decision.status}."
    return f"Approval: {change.decision.status} by {change.decision.decided_by}, {change.decision.decided_at:%Y-%m-%d}."


def _effect(effect: "Effect", first: int, last: int) -> Iterator[str]:
    yield (
        f"Effect on {effect.scenarios} shared scenarios: {effect.better} better, {effect.worse} worse, "
        f"{effect.same} the same."
    )
    sides = (_measures(effect.before), _measures(effect.after))
    rows = [(name, old, new) for (name, old), (_, new) in zip(*sides, strict=True) if old or new]
    yield format_table(("", f"version {first}", f"version {last}"), rows, right=True)


def _measures(measured: "Measures") -> list[tuple[str, str]]:
    def mean(value: Any, form: str) -> str:
        return "" if value is None else format(value, form)

    return [
        ("attempts", str(measured.attempts)),
        ("failures", str(measured.failures)),
        ("passed", f"{measured.passed} of {measured.judged}" if measured.judged else ""),
        ("mean score", mean(measured.mean_score, ".3f")),
        ("mean seconds", mean(measured.mean_ms and measured.mean_ms / 1000, ".2f")),
        ("mean tokens", mean(measured.mean_tokens, ",.0f")),
        ("mean cost, USD", mean(measured.mean_cost_usd, ".4f")),
    ]
