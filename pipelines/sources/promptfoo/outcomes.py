"""One result: the scenario it is of, and the outcome. A failed check is an answer that did not pass, not an error."""

from typing import Any

import msgspec

from pipelines.sources.outputs import Failure, Outcome, Scenario, scenario_id
from pipelines.sources.prompt_tokens import uncached
from pipelines.sources.steps import bounded, cut

from .results import ERROR, Place, Result, TestCase, TokenUsage
from .runs import DATASET, Run, cost_of

_NAME_CHARACTERS = 100


def scenario_of(result: Result, place: Place) -> Scenario:
    """The test, whichever prompt it was put into: its variables are the task, its checks the truth."""
    case = result.test_case or TestCase()
    asked = case.vars if case.vars is not None else result.vars or {}
    task = "\n".join(f"{name}: {_text(value)}" for name, value in asked.items())
    return Scenario(
        line=place.line,
        offset=place.offset,
        scenario_id=scenario_id(DATASET, result.test),
        name=case.description or " ".join(task.split())[:_NAME_CHARACTERS] or f"test {result.test}",
        task_prompt=task or None,
        ground_truth=case.assertions or None,
        dataset=DATASET,
        source_id=result.test,
    )


def outcome_of(result: Result, place: Place, run: Run) -> Outcome:
    """The result as one repeat of its test in its run. Times of single results are not written."""
    is_error = result.reason == ERROR
    response, usage = result.response, (result.response.token_usage if result.response else None)
    metrics: dict[str, Any] = dict(result.named_scores or {})
    if response is not None and response.cached:
        metrics["is_cached"] = True
    return Outcome(
        line=place.line,
        offset=place.offset,
        simulation_key=run.key,
        scenario_id=scenario_id(DATASET, result.test),
        epoch=run.epochs[result.test, result.test_idx],
        execution_time=run.executed_at,
        status="error" if is_error else "success",
        score_raw=None if is_error else result.score,
        score_scale=run.score_scale,
        is_passed=None if is_error else result.success,
        execution_time_ms=result.latency_ms,
        model=run.model,
        **(_tokens(usage) if usage else {}),
        cost_usd=cost_of(result),
        trajectory=_trajectory(result),
        step_count=2 if response is not None and response.output is not None else 1,
        metrics=metrics,
        failures=[Failure(message=_text(result.error) or "The provider gave no answer.")] if is_error else [],
    )


def _tokens(usage: TokenUsage) -> dict[str, Any]:
    details = usage.completion_details
    read = (details.cache_read_input_tokens if details else None) or 0
    written = (details.cache_creation_input_tokens if details else None) or 0
    tokens: dict[str, Any] = {"tokens_used": usage.total}
    if usage.prompt is not None and usage.completion is not None:
        total = usage.prompt + usage.completion if usage.total is None else usage.total
        tokens |= {
            "input_tokens": uncached(usage.prompt, usage.completion, total, read + written),
            "output_tokens": usage.completion,
            "cache_read_tokens": read,
            "cache_creation_tokens": written,
        }
    return tokens


def _trajectory(result: Result) -> dict[str, Any]:
    steps = [{"role": "user", "text": cut(result.prompt.raw)}]
    if result.response is not None and result.response.output is not None:
        steps.append({"role": "assistant", "text": cut(_text(result.response.output))})
    grading = result.grading_result
    checks = [
        _check(check) for check in (grading.component_results if grading else None) or [] if isinstance(check, dict)
    ]
    return bounded(
        steps,
        checks=bounded(checks)["steps"] or None,
        verdict=cut(grading.reason) if grading and grading.reason else None,
    )


def _check(check: dict[str, Any]) -> dict[str, Any]:
    assertion = check.get("assertion")
    kind = assertion.get("type") if isinstance(assertion, dict) else None
    return {
        "type": kind,
        "pass": check.get("pass"),
        "score": check.get("score"),
        "reason": cut(_text(check.get("reason"))),
    }


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return msgspec.json.encode(value).decode()
