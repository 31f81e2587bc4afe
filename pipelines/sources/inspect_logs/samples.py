"""One sample of a log: the scenario it is of its dataset, and the outcome of running it in one epoch."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.sources.json_documents import moment
from pipelines.sources.lines import in_utc
from pipelines.sources.outputs import (
    UNBOUNDED,
    UNIT,
    Failure,
    Outcome,
    OutcomeStatus,
    Scale,
    Scenario,
    scenario_id,
)
from pipelines.sources.prompt_tokens import uncached

from .conversation import text_of, tool_uses, trajectory
from .scores import is_unit, number, primary

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample, EvalSampleSummary
    from inspect_ai.model import ModelUsage
    from inspect_ai.scorer import Score

    AnySample: TypeAlias = EvalSample | EvalSampleSummary

_LIMIT_STATUS: Mapping[str, OutcomeStatus] = {"time": "timeout", "working": "timeout", "operator": "cancelled"}


def scenario_of(header: "EvalLog", sample: "AnySample") -> Scenario:
    """The sample of the dataset, whatever the epoch. Datasets are told apart by task: many are called alike."""
    task, dataset = header.eval.task, header.eval.dataset.name
    qualified = task if dataset in (None, "", task) else f"{task}/{dataset}"
    prompt = (
        sample.input
        if isinstance(sample.input, str)
        else "\n".join(f"{message.role}: {text_of(message.content)}" for message in sample.input)
    )
    if sample.choices:
        prompt += "".join(f"\n{chr(65 + place)}) {choice}" for place, choice in enumerate(sample.choices))
    return Scenario(
        scenario_id=scenario_id(qualified, sample.id),
        name=f"{dataset or task} {sample.id}",
        task_prompt=prompt or None,
        ground_truth=sample.target or None,
        dataset=qualified,
        source_id=str(sample.id),
    )


def outcome_of(header: "EvalLog", sample: "AnySample", modified_at: datetime) -> Outcome:
    """The sample as it went in its epoch. Tokens are those of the evaluated model; other models' are in metrics."""
    scorer = primary(header, sample.scores)
    score, scale, is_passed = _score(header, (sample.scores or {}).get(scorer or ""))
    messages, events = getattr(sample, "messages", []), getattr(sample, "events", [])
    tools, steps = tool_uses(messages, events), trajectory(messages, sample.scores)
    failures = _failures(sample)
    usage = sample.model_usage.get(header.eval.model)
    return Outcome(
        simulation_key=header.eval.eval_id,
        scenario_id=scenario_of(header, sample).scenario_id,
        epoch=sample.epoch,
        execution_time=_ended(header, sample) or modified_at,
        status=_status(sample),
        score_raw=score,
        score_scale=scale,
        is_passed=is_passed,
        execution_time_ms=None if sample.total_time is None else sample.total_time * 1000,
        model=header.eval.model,
        **(_tokens(usage) if usage else {}),
        trajectory=steps,
        step_count=len(messages) if messages else getattr(sample, "message_count", None),
        metrics=_metrics(header, sample, scorer),
        retry_count=_retries(sample),
        error_code=failures[0].failure_type or failures[0].category if failures else None,
        tools=tools,
        failures=failures,
    )


def _score(header: "EvalLog", score: "Score | None") -> tuple[float | None, Scale, bool | None]:
    """Number, scale and whether passed: all of it was right (True), nothing (False), some or not known (None)."""
    value = None if score is None else score.value
    found = number(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if found is None or not 0 <= found <= 1 or (is_number and not is_unit(header)):
        return found, UNBOUNDED if found is not None else UNIT, None
    return found, UNIT, {1.0: True, 0.0: False}.get(found)


def _ended(header: "EvalLog", sample: "AnySample") -> datetime | None:
    events = getattr(sample, "events", [])
    if sample.completed_at is None and events:
        return in_utc(events[-1].timestamp)
    return (
        moment(sample.completed_at, "completed_at")
        or moment(header.stats.completed_at, "stats.completed_at")
        or moment(header.eval.created, "eval.created")
    )


def _status(sample: "AnySample") -> OutcomeStatus:
    """An error ends a sample; a limit ends it too, but what was done until then is scored like any other."""
    if sample.error is not None:
        return "error"
    return _LIMIT_STATUS.get(_limit(sample) or "", "success")


def _limit(sample: "AnySample") -> str | None:
    return sample.limit if isinstance(sample.limit, str) or sample.limit is None else sample.limit.type


def _failures(sample: "AnySample") -> list[Failure]:
    """What ended the sample, then what had ended its earlier attempts."""
    found = []
    if sample.error is not None:
        message = sample.error if isinstance(sample.error, str) else sample.error.message
        found.append(Failure(message=message, recovery_attempted=_retries(sample) > 0))
    limit = _limit(sample)
    if limit is not None:
        amount = getattr(sample.limit, "limit", None)
        message = f"The sample was stopped by its {limit} limit" + ("." if amount is None else f" of {amount:g}.")
        is_timeout = _LIMIT_STATUS.get(limit) == "timeout"
        found.append(
            Failure(message=message, failure_type=f"{limit}_limit", category="timeout" if is_timeout else None)
        )
    found.extend(
        Failure(message=earlier.message, recovery_attempted=True, recovery_successful=sample.error is None)
        for earlier in getattr(sample, "error_retries", None) or []
    )
    return found


def _retries(sample: "AnySample") -> int:
    return len(getattr(sample, "error_retries", None) or []) or getattr(sample, "retries", None) or 0


def _tokens(usage: "ModelUsage") -> dict[str, Any]:
    read, written = usage.input_tokens_cache_read or 0, usage.input_tokens_cache_write or 0
    return {
        "tokens_used": usage.total_tokens,
        "input_tokens": uncached(usage.input_tokens, usage.output_tokens, usage.total_tokens, read + written),
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.total_cost,
    }


def _metrics(header: "EvalLog", sample: "AnySample", scorer: str | None) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for name, score in (sample.scores or {}).items():
        value = number(score.value)
        if name != scorer or value is None:
            metrics[name] = score.value if value is None else value
    if sample.working_time is not None:
        metrics["working_time_ms"] = sample.working_time * 1000
    others = {
        model: usage.model_dump(exclude_none=True)
        for model, usage in sample.model_usage.items()
        if model != header.eval.model
    }
    return metrics | ({"other_model_usage": others} if others else {})
