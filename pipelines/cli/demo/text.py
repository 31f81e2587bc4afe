"""The summary in words, as a person reads it on a terminal."""

import shlex
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from pipelines.cli.demo.summary import (
    EvaluationTotals,
    OptimizationTotals,
    Pattern,
    ProjectTotals,
    Summary,
)
from pipelines.cli.output import count, format_table

_LONGEST_SIGNATURE = 56
_LONGEST_TEMPLATE = 64


def describe(summary: Summary, *, seconds: float) -> str:
    """The summary for people, and what to do next."""
    parts = [
        f"\nThe sample warehouse, {summary.first_day} to {summary.last_day}",
        *_coding_agents(summary),
        *_optimization(summary),
        *_evaluations(summary),
        *_care(summary),
        *_next_steps(summary),
    ]
    return "\n".join(parts) + f"\n\nDone in {seconds:.0f} s.\n"


def _coding_agents(summary: Summary) -> Iterator[str]:
    totals = summary.projects
    known = [project.cost_usd for project in totals if project.cost_usd is not None]
    is_lower_bound = any(project.is_lower_bound for project in totals)
    yield "\nCoding agents\n"
    yield _table(
        ("project", "executions", "requests", "tokens", "cost USD", "cache hits"),
        [
            *map(_project_row, totals),
            (
                "total",
                count(sum(project.executions for project in totals)),
                count(sum(project.requests for project in totals)),
                count(sum(project.tokens for project in totals)),
                _money(sum(known, Decimal(0)), is_lower_bound),
                "",
            ),
        ],
    )
    if is_lower_bound:
        unpriced = sum(project.unpriced_requests for project in totals)
        incomplete = sum(project.incomplete_requests for project in totals)
        yield (
            f"\n  ≥: a lower bound. {unpriced:,} requests went to a model without a known price; "
            f"the logs of {incomplete:,} hold part of the output only."
        )
    ended = ", ".join(f"{number:,} {status}" for status, number in summary.statuses.items() if number)
    yield f"\n  How executions ended: {ended}"
    if summary.patterns:
        yield "\n  Most expensive commands of the last 30 days\n"
        yield _table(
            ("project", "pattern", "runs", "success", "median tokens", "cost USD", "cache hits"),
            [_pattern_row(pattern) for pattern in summary.patterns],
        )
    if summary.advice:
        yield "\n  Where money could be saved, in those days\n"
        rows = [
            (advice.rule_id.replace("_", " "), advice.project_id, _signature(advice.pattern_signature),
             f"up to {advice.saving_usd:,.2f} USD")
            for advice in summary.advice
        ]  # fmt: skip
        yield _indent(format_table(("rule", "project", "pattern", "saving"), rows))


def _project_row(project: ProjectTotals) -> tuple[Any, ...]:
    return (
        project.project_id,
        count(project.executions),
        count(project.requests),
        count(project.tokens),
        _money(project.cost_usd, project.is_lower_bound),
        _percent(project.cache_hit_rate),
    )


def _pattern_row(pattern: Pattern) -> tuple[Any, ...]:
    return (
        pattern.project_id,
        _signature(pattern.pattern_signature),
        count(pattern.runs),
        _share(pattern.success_rate),
        "" if pattern.tokens_p50 is None else count(round(pattern.tokens_p50)),
        _money(pattern.cost_usd, False),
        _percent(pattern.cache_hit_rate),
    )


def _optimization(summary: Summary) -> Iterator[str]:
    if not summary.optimizations:
        return
    yield "\nOptimization: scores of full evaluations, in percent of the best possible\n"
    yield _table(
        ("project", "task", "runs", "completed", "stopped", "running", "best score", "found by", "tokens", "cost USD"),
        [_optimization_row(totals) for totals in summary.optimizations],
    )
    silent = sum(totals.runs_without_cost for totals in summary.optimizations)
    if silent:
        yield f"\n  ≥: a lower bound. The files of {silent:,} runs do not say all that they used."
    if summary.optimizers:
        first = summary.optimizers[0]
        yield f"\n  Optimizers on one data set: {first.project_id}, {first.task}\n"
        yield _table(
            ("optimizer", "runs", "evaluations", "best score", "mean gain"),
            [
                (
                    result.optimizer,
                    count(result.runs),
                    count(result.evaluations),
                    _share(result.best_score),
                    "" if result.mean_gain is None else f"{100 * result.mean_gain:+.1f} points",
                )
                for result in summary.optimizers
            ],
        )


def _optimization_row(totals: OptimizationTotals) -> tuple[Any, ...]:
    return (
        totals.project_id,
        totals.task or "",
        *map(count, (totals.runs, totals.completed, totals.stopped, totals.running)),
        _share(totals.best_score),
        totals.best_optimizer or "",
        _bounded(count(totals.tokens), totals.runs_without_tokens > 0),
        _money(totals.cost_usd, totals.runs_without_cost > 0),
    )


def _evaluations(summary: Summary) -> Iterator[str]:
    if not summary.evaluations:
        return
    yield "\nEvaluations\n"
    yield _table(
        ("project", "simulations", "running", "days", "outcomes", "passed", "pass rate", "tokens", "cost USD"),
        [_evaluation_row(totals) for totals in summary.evaluations],
    )
    unjudged = sum(totals.outcomes - totals.judged for totals in summary.evaluations)
    if unjudged:
        yield f"\n  {unjudged:,} outcomes have no verdict: they count neither as passed nor as failed."
    if summary.versions:
        first = summary.versions[0]
        yield f"\n  What changes of a configuration did: {first.name} of {first.project_id}\n"
        yield _table(
            ("version", "simulations", "passed", "pass rate", "mean cost USD"),
            [
                (
                    version.version_number,
                    count(version.simulations),
                    f"{version.passed:,} of {version.judged:,}",
                    _ratio(version.passed, version.judged),
                    "" if version.mean_cost_usd is None else f"{version.mean_cost_usd:.5f}",
                )
                for version in summary.versions
            ],
        )
    if summary.failures:
        yield "\n  What failed most\n"
        yield _table(
            ("category", "error", "times", "last seen"),
            [
                (
                    failure.category.replace("_", " "),
                    _cut(failure.template, _LONGEST_TEMPLATE),
                    count(failure.times),
                    f"{failure.last_seen_at:%Y-%m-%d}",
                )
                for failure in summary.failures
            ],
        )


def _evaluation_row(totals: EvaluationTotals) -> tuple[Any, ...]:
    return (
        totals.project_id,
        *map(count, (totals.simulations, totals.running, totals.days, totals.outcomes, totals.passed)),
        _ratio(totals.passed, totals.judged),
        _bounded(count(totals.tokens), totals.outcomes_without_tokens > 0),
        _money(totals.cost_usd, totals.outcomes_without_cost > 0),
    )


def _care(summary: Summary) -> Iterator[str]:
    yield "\nKept out of the warehouse"
    if summary.secrets_left:
        yield f"  {summary.secrets_left} texts still hold a planted secret: this is a defect, please report it."
    else:
        yield "  Secrets: those planted in the logs are nowhere to be found. Stored instead, for example:"
        yield from (f"    {text}" for text in summary.redacted_examples)
    yield f"  Broken lines: {summary.quarantined:,} in quarantine, with file and line: `tracemill doctor`"
    if summary.left_out:
        extras = ",".join(summary.left_out)
        yield f"  Not in this sample: {', '.join(summary.left_out)}; for them: pip install 'tracemill[{extras}]'"


def _next_steps(summary: Summary) -> Iterator[str]:
    project = summary.projects[0].project_id if summary.projects else "storefront"
    question = "select model, sum(cost_usd) from model_usage_daily group by 1 order by 2 desc nulls last"
    yield "\nWhat next"
    yield "  tracemill ui                          the same in Dagster: lineage, runs, checks"
    if summary.versions:
        version = summary.versions[-1]
        yield "\n  What changed between two versions of a configuration, and what it did:"
        yield f"  tracemill diff {shlex.quote(version.name)} --project {version.project_id}"
    if summary.failures and summary.vectors:
        failure = summary.failures[0]
        yield "\n  Errors like the one before you, from evaluations and from the work of coding agents:"
        yield f"  tracemill similar {shlex.quote(failure.last_message)} --project {failure.last_project}"
    yield "\n  Questions in SQL, as an analyst who sees one project:"
    yield f"  tracemill query --project {project} \\"
    yield f'    "{question}"'
    yield "\n  Your own logs, and what is wrong with them:"
    yield "  tracemill ingest ~/.claude/projects && tracemill aggregate"
    yield "  tracemill doctor"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return _indent(format_table(columns, rows, right=True))


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _signature(signature: str) -> str:
    """A pattern without the version of its form."""
    return _cut(signature.partition(":")[2] or signature, _LONGEST_SIGNATURE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _money(amount: Decimal | None, is_lower_bound: bool) -> str:
    return "unknown" if amount is None else _bounded(f"{amount:,.2f}", is_lower_bound)


def _bounded(number: str, is_lower_bound: bool) -> str:
    return f"≥ {number}" if number and is_lower_bound else number


def _percent(rate: Decimal | float | None) -> str:
    return "" if rate is None else f"{rate:.1f} %"


def _share(share: Decimal | float | None) -> str:
    return "" if share is None else _percent(100 * share)


def _ratio(part: int, whole: int) -> str:
    return _share(part / whole) if whole else ""
