"""``tracemill demo``: from nothing to marts, with sample logs, the way one's own logs go.

The logs are the same every time and their files carry the times they tell of, so a second demo finds everything
known and changes no number. The summary is read from the marts, for the sample projects only.
"""

import sys
import time
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

from pipelines import settings as environment
from pipelines.cli.aggregate import describe as describe_aggregation
from pipelines.cli.output import count, format_table, ingest_progress, megabytes, print_json, say, step
from pipelines.cli.warehouse import ready_warehouse

if TYPE_CHECKING:
    from pipelines.samples import SampleTruth

_PROJECTS = """
with executions as (
    select project_id, sum(execution_count)::bigint as executions
    from marts.daily_command_stats where project_id = any(%(projects)s) group by project_id
),
spend as (
    select
        project_id, sum(request_count)::bigint as requests, sum(total_tokens)::bigint as tokens,
        sum(cost_usd) as cost_usd, bool_or(is_cost_lower_bound) as is_lower_bound,
        sum(unpriced_count)::bigint as unpriced_requests,
        sum(lower_bound_count - unpriced_count)::bigint as incomplete_requests,
        100.0 * sum(cache_read_tokens) / nullif(sum(input_tokens), 0) as cache_hit_rate
    from marts.project_spend_daily where project_id = any(%(projects)s) group by project_id
)
select * from executions join spend using (project_id) order by cost_usd desc nulls last, project_id
"""
_STATUSES = """
select
    sum(completed_count)::bigint as completed, sum(failed_count)::bigint as failed,
    sum(cancelled_count)::bigint as cancelled, sum(timeout_count)::bigint as timeout,
    sum(pending_count)::bigint as pending
from marts.daily_command_stats where project_id = any(%(projects)s)
"""
_PATTERNS = """
select
    project_id, coalesce(command_base, 'free text') as command, pattern_signature, sample_size as runs, success_rate,
    tokens_p50, cost_usd, cache_hit_rate
from marts.command_patterns
where project_id = any(%(projects)s) and sample_size > 0
order by cost_usd desc nulls last, project_id, pattern_signature
limit 6
"""
_ADVICE = """
select project_id, pattern_signature, rule_id, saving_usd
from (
    select distinct on (rule_id) project_id, pattern_signature, rule_id, saving_usd
    from marts.command_patterns as p
    cross join lateral jsonb_to_recordset(p.optimization_insights) as i (rule_id text, estimated_saving_usd numeric)
    cross join lateral (values (i.estimated_saving_usd)) as s (saving_usd)
    where project_id = any(%(projects)s) and saving_usd > 0
    order by rule_id, saving_usd desc, project_id, pattern_signature
) as best
order by saving_usd desc, rule_id
"""
_REDACTED = """
select distinct on (left(command_raw, 24)) command_raw
from raw.command_executions
where project_id = any(%(projects)s) and command_raw like '%%[REDACTED:%%'
order by left(command_raw, 24), timestamp
limit 2
"""
_LEFTOVERS = """
select count(*) from (
    select command_raw as text from raw.command_executions where project_id = any(%(projects)s)
    union all
    select error_message from raw.command_executions where project_id = any(%(projects)s)
    union all
    select error_message from raw.tool_calls where project_id = any(%(projects)s)
    union all
    select sample from ops.quarantined_records
) as texts
where exists (select from unnest(%(secrets)s::text[]) as secret where strpos(texts.text, secret) > 0)
"""
_QUARANTINED = "select count(*) from ops.quarantined_records where project_id = any(%(projects)s)"


@dataclass(frozen=True)
class ProjectTotals:
    """One sample project, all days; rates in percent, ``cost_usd`` NULL where nothing has a price."""

    project_id: str
    executions: int
    requests: int
    tokens: int
    cost_usd: Decimal | None
    is_lower_bound: bool
    unpriced_requests: int
    """Requests of models without a known price."""
    incomplete_requests: int
    """Requests whose log holds only the first of their output tokens."""
    cache_hit_rate: Decimal | None


@dataclass(frozen=True)
class Pattern:
    """One of the most expensive patterns of the last 30 days of the sample."""

    project_id: str
    command: str
    pattern_signature: str
    runs: int
    success_rate: Decimal | float | None
    tokens_p50: float | None
    cost_usd: Decimal | None
    cache_hit_rate: Decimal | float | None


@dataclass(frozen=True)
class Advice:
    """What a rule found and could save over the window: the best case of that rule."""

    project_id: str
    pattern_signature: str
    rule_id: str
    saving_usd: Decimal


@dataclass(frozen=True)
class Summary:
    """What the marts hold of the sample."""

    first_day: date
    last_day: date
    projects: tuple[ProjectTotals, ...]
    statuses: dict[str, int]
    patterns: tuple[Pattern, ...]
    advice: tuple[Advice, ...]
    redacted_examples: tuple[str, ...]
    secrets_left: int
    """Stored texts in which a planted secret can still be read."""
    quarantined: int


def demo(*, as_json: bool) -> int:
    """Runs every step and prints the summary; 1 when a planted secret was stored."""
    from pipelines import ingest, samples
    from pipelines.maintenance import launch

    started = time.monotonic()
    settings = environment.load()
    with step("starting the database"):
        dsn = ready_warehouse(settings)
    with step("writing sample logs"):
        truth = samples.generate(settings.home / "demo")
    say(f"Sample logs: {truth.files:,} files, {megabytes(truth.bytes)}, in {truth.folder}")
    with ingest_progress() as show:
        report = ingest.run([truth.folder], dsn=dsn, settings=settings, on_progress=show)
    written = sum(counts.inserted + counts.updated for counts in report.records.values())
    say(f"Ingested:    {count(written)} rows new or changed, in {report.seconds:.1f} s")
    with step("aggregating") as show_line:
        result = launch.aggregate(settings, dsn, truth.last_day, truth.last_day, on_line=show_line)
    say(f"Aggregated:  {describe_aggregation(result)}")
    summary = read_summary(dsn, truth)
    if as_json:
        print_json(asdict(summary))
    else:
        sys.stdout.write(describe(summary, seconds=time.monotonic() - started))
    return 1 if summary.secrets_left else 0


def read_summary(dsn: str, truth: "SampleTruth") -> Summary:
    """The summary of the sample projects, from the marts."""
    from pipelines.database import connect

    given: dict[str, Any] = {"projects": list(truth.projects), "secrets": truth.secrets}
    with connect(dsn, role="tracemill_dbt") as connection:
        (statuses,) = _rows(connection, dict, _STATUSES, given)
        return Summary(
            first_day=truth.first_day,
            last_day=truth.last_day,
            projects=tuple(_rows(connection, ProjectTotals, _PROJECTS, given)),
            statuses=statuses,
            patterns=tuple(_rows(connection, Pattern, _PATTERNS, given)),
            advice=tuple(_rows(connection, Advice, _ADVICE, given)),
            redacted_examples=tuple(row["command_raw"] for row in _rows(connection, dict, _REDACTED, given)),
            secrets_left=_number(connection, _LEFTOVERS, given),
            quarantined=_number(connection, _QUARANTINED, given),
        )


def _rows(connection: psycopg.Connection[Any], kind: type[Any], query: str, given: dict[str, Any]) -> list[Any]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, given).fetchall()


def _number(connection: psycopg.Connection[Any], query: str, given: dict[str, Any]) -> int:
    row = connection.execute(query, given).fetchone()
    return int(row[0]) if row else 0


def describe(summary: Summary, *, seconds: float) -> str:
    """The summary for people, and what to do next."""
    totals = summary.projects
    known = [project.cost_usd for project in totals if project.cost_usd is not None]
    rows: list[tuple[Any, ...]] = [_project_row(project) for project in totals]
    rows.append(
        (
            "total",
            count(sum(project.executions for project in totals)),
            count(sum(project.requests for project in totals)),
            count(sum(project.tokens for project in totals)),
            _money(sum(known, Decimal(0)), any(project.is_lower_bound for project in totals)),
            "",
        )
    )
    parts = [
        f"\nThe sample warehouse, {summary.first_day} to {summary.last_day}\n",
        _indent(
            format_table(("project", "executions", "requests", "tokens", "cost USD", "cache hits"), rows, right=True)
        ),
    ]
    if any(project.is_lower_bound for project in totals):
        unpriced = sum(project.unpriced_requests for project in totals)
        incomplete = sum(project.incomplete_requests for project in totals)
        parts.append(
            f"\n  ≥: a lower bound. {unpriced:,} requests went to a model without a known price; "
            f"the logs of {incomplete:,} hold part of the output only."
        )
    ended = ", ".join(f"{number:,} {status}" for status, number in summary.statuses.items() if number)
    parts.append(f"\nHow executions ended: {ended}")
    if summary.patterns:
        parts.append("\nMost expensive commands of the last 30 days\n")
        parts.append(
            _indent(
                format_table(
                    ("project", "pattern", "runs", "success", "median tokens", "cost USD", "cache hits"),
                    [_pattern_row(pattern) for pattern in summary.patterns],
                    right=True,
                )
            )
        )
    if summary.advice:
        parts.append("\nWhere money could be saved, in those days\n")
        rows = [
            (advice.rule_id.replace("_", " "), advice.project_id, _signature(advice.pattern_signature),
             f"up to {advice.saving_usd:,.2f} USD")
            for advice in summary.advice
        ]  # fmt: skip
        parts.append(_indent(format_table(("rule", "project", "pattern", "saving"), rows)))
    parts.append(_describe_care(summary))
    parts.append(_next_steps(totals[0].project_id if totals else "storefront"))
    return "\n".join(parts) + f"\nDone in {seconds:.0f} s.\n"


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
    success = None if pattern.success_rate is None else 100 * pattern.success_rate
    return (
        pattern.project_id,
        _signature(pattern.pattern_signature),
        count(pattern.runs),
        _percent(success),
        "" if pattern.tokens_p50 is None else count(round(pattern.tokens_p50)),
        _money(pattern.cost_usd, False),
        _percent(pattern.cache_hit_rate),
    )


def _signature(signature: str) -> str:
    """A pattern without the version of its form, cut to what a terminal has room for."""
    text = signature.partition(":")[2] or signature
    return text if len(text) <= 56 else text[:55] + "…"


def _describe_care(summary: Summary) -> str:
    lines = ["\nKept out of the warehouse"]
    if summary.secrets_left:
        lines.append(f"  {summary.secrets_left} texts still hold a planted secret: this is a defect, please report it.")
    else:
        lines.append("  Secrets: those planted in the logs are nowhere to be found. Stored instead, for example:")
        lines += [f"    {text}" for text in summary.redacted_examples]
    lines.append(f"  Broken lines: {summary.quarantined:,} in quarantine, with file and line: `tracemill doctor`")
    return "\n".join(lines)


def _next_steps(project: str) -> str:
    question = "select model, sum(cost_usd) from model_usage_daily group by 1 order by 2 desc nulls last"
    return f"""
What next
  tracemill ui                          the same in Dagster: lineage, runs, checks
  tracemill ingest ~/.claude/projects   your own logs; then: tracemill aggregate
  tracemill doctor                      what is wrong, and how to mend it
  tracemill query --project {project} \\
    "{question}"
"""


def _money(amount: Decimal | None, is_lower_bound: bool) -> str:
    if amount is None:
        return "unknown"
    return f"{'≥ ' if is_lower_bound else ''}{amount:,.2f}"


def _percent(rate: Decimal | float | None) -> str:
    return "" if rate is None else f"{rate:.1f} %"


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
