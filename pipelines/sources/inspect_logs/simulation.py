"""The header of a log as a simulation: which settings ran over which samples, when, and how it ended."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipelines.sources.json_documents import moment
from pipelines.sources.outputs import UNBOUNDED, UNIT, RunStatus, Scenario, Simulation

from .scores import is_unit, number, primary_metric

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog
    from pydantic import BaseModel

_STATUS: Mapping[str, RunStatus] = {
    "started": "running",
    "success": "completed",
    "cancelled": "cancelled",
    "error": "failed",
}
_LIMITS = ("message_limit", "token_limit", "time_limit", "working_limit", "turn_limit", "cost_limit")
# How many requests went out at once is the machine's business: it makes no other version.
_OPERATION = {"max_connections", "adaptive_connections"}


def simulation_of(
    header: "EvalLog", scenarios: Sequence[Scenario], *, log_format: Literal["eval", "json"]
) -> Simulation:
    """The evaluation; ``scenarios`` are those that the log has samples of, planned in the order of the dataset."""
    spec, stats = header.eval, header.stats
    started_at, completed_at = (
        moment(stats.started_at, "stats.started_at"),
        moment(stats.completed_at, "stats.completed_at"),
    )
    score = primary_metric(header)
    costs = [usage.total_cost for usage in stats.model_usage.values()]
    places = {str(sample_id): place for place, sample_id in enumerate(spec.dataset.sample_ids or [])}
    if started_at is not None and completed_at is not None and completed_at < started_at:
        completed_at = None  # a clock that was set back in between has no end to give
    ended = header.status != "started"
    return Simulation(
        key=spec.eval_id,
        config_name=f"{spec.task} ({spec.model})",
        config=_config(header),
        name=spec.task_display_name or spec.task,
        status=_STATUS[header.status],
        overall_score_raw=score,
        score_scale=UNIT if is_unit(header) else UNBOUNDED,
        execution_time_ms=round((completed_at - started_at).total_seconds() * 1000)
        if ended and started_at is not None and completed_at is not None
        else None,
        total_cost_usd=sum(cost for cost in costs if cost is not None) if costs and None not in costs else None,
        timeout_ms=(spec.config.time_limit or 0) * 1000 or None,
        max_retries=spec.config.retry_on_error,
        started_at=started_at,
        completed_at=completed_at if ended else None,
        created_at=moment(spec.created, "eval.created"),
        planned_scenarios=[
            scenario.scenario_id
            for scenario in sorted(scenarios, key=lambda known: places.get(known.source_id or "", len(places)))
        ],
        metadata=_metadata(header),
    )


def _config(header: "EvalLog") -> dict[str, Any]:
    spec, plan = header.eval, header.plan
    steps = [*plan.steps, *([plan.finish] if plan.finish else [])]
    return _known(
        model=spec.model,
        task=spec.task,
        task_version=spec.task_version,
        task_args=spec.task_args,
        model_args=spec.model_args,
        model_base_url=spec.model_base_url,
        model_roles={
            role: [_fields(model) for model in models] if isinstance(models, list) else _fields(models)
            for role, models in (spec.model_roles or {}).items()
        },
        generate_config=_fields(spec.model_generate_config) | _fields(plan.config),
        solver=[_known(solver=step.solver, params=step.params) for step in steps],
        scorers=[_known(name=scorer.name, options=scorer.options) for scorer in spec.scorers or []],
        limits={name: value for name in _LIMITS if (value := getattr(spec.config, name, None)) is not None},
        packages=spec.packages,
    )


def _metadata(header: "EvalLog") -> dict[str, Any]:
    spec, results = header.eval, header.results
    return _known(
        run_id=spec.run_id,
        task_id=spec.task_id,
        eval_set_id=spec.eval_set_id,
        task_file=spec.task_file,
        tags=header.tags,
        dataset=_known(name=spec.dataset.name, location=spec.dataset.location, samples=spec.dataset.samples),
        sample_limit=spec.config.limit,
        epochs=spec.config.epochs,
        epochs_reducer=spec.config.epochs_reducer,
        revision=_fields(spec.revision) if spec.revision else None,
        total_samples=results.total_samples if results else None,
        completed_samples=results.completed_samples if results else None,
        metrics={
            f"{score.name}/{name}": number(metric.value)
            for score in (results.scores if results else [])
            for name, metric in score.metrics.items()
        },
        model_usage={model: _fields(usage) for model, usage in header.stats.model_usage.items()},
        error=header.error.message if header.error else None,
        invalidated=header.invalidated or None,
    )


def _known(**fields: Any) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _fields(model: "BaseModel") -> dict[str, Any]:
    fields: dict[str, Any] = model.model_dump(mode="json", exclude_none=True, exclude=_OPERATION)
    return fields
