"""Which results belong together: one run of a provider with a prompt over all tests and their repeats."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import fsum
from typing import Any

from pipelines.sources.json_documents import moment
from pipelines.sources.lines import UnusableLine
from pipelines.sources.outputs import UNBOUNDED, UNIT, Scale, Simulation, content_hash, scenario_id
from pipelines.sources.records import BadLine

from .results import ERROR, Prompt, Provider, Result, Results

DATASET = "promptfoo"
_LABEL_CHARACTERS = 80
_ENDPOINTS = frozenset({"chat", "completion", "completions", "responses", "messages", "realtime", "assistant"})
_SCRIPTS = frozenset({"file", "http", "https", "exec", "python", "golang", "ruby", "package", "webhook", "ws", "wss"})


@dataclass
class Run:
    """One provider with one prompt."""

    prompt_idx: int
    key: str
    """Id of the simulation."""
    provider: Provider
    prompt: Prompt
    prompt_id: str
    executed_at: datetime
    score_scale: Scale = UNIT
    epochs: dict[tuple[str, int], int] = field(default_factory=dict)
    """By test and place among all tests: which repeat of the test that is."""
    scores: list[float] = field(default_factory=list)
    costs: list[float | None] = field(default_factory=list)
    """USD of each result."""

    @property
    def model(self) -> str:
        """Vendor and model where the provider's id names them, as price lists do; else its name."""
        vendor, *rest = self.provider.id.split(":")
        if not rest or vendor in _SCRIPTS:
            return self.provider.name
        return f"{vendor}/{':'.join(rest[1:] if rest[0] in _ENDPOINTS and len(rest) > 1 else rest)}"


class Runs:
    """All runs of a document, and which result belongs to which."""

    def __init__(self, results: Results, modified_at: datetime) -> None:
        self._envelope = results.envelope
        self._started_at = self._time_of_evaluation()
        self._modified_at = modified_at
        members: dict[int, list[tuple[int, str, str]]] = {}
        self._runs: dict[int, Run] = {}
        for _, result in results.items():
            if isinstance(result, BadLine):
                continue
            run = self._runs.get(result.prompt_idx)
            if run is None:
                run = self._runs[result.prompt_idx] = self._run(result)
            members.setdefault(result.prompt_idx, []).append((result.test_idx, result.id or "", result.test))
            _count(run, result)
        for prompt_idx, found in members.items():
            self._settle(self._runs[prompt_idx], sorted(found))

    def run_of(self, result: Result) -> Run:
        """The run to which the result belongs."""
        return self._runs[result.prompt_idx]

    def simulations(self) -> Iterator[Simulation]:
        """One a run, in the order of the evaluation's columns."""
        envelope = self._envelope
        description = envelope.suite("description") if envelope else None
        title = description if isinstance(description, str) else None
        stats = envelope.results.stats if envelope else None
        duration_ms = stats.duration_ms if stats else None
        started_at = self._started_at
        for _, run in sorted(self._runs.items()):
            name = f"{run.provider.name}: {_label(run)}"
            tests = dict.fromkeys(test for test, _ in sorted(run.epochs, key=lambda known: known[1]))
            yield Simulation(
                key=run.key,
                config_name=name,
                config=self._config(run),
                name=title or name,
                status="completed",
                overall_score_raw=fsum(run.scores) / len(run.scores) if run.scores else None,
                score_scale=run.score_scale,
                execution_time_ms=None if duration_ms is None else round(duration_ms),
                total_cost_usd=None if None in run.costs else fsum(cost for cost in run.costs if cost is not None),
                started_at=started_at,
                completed_at=started_at + timedelta(milliseconds=duration_ms or 0) if started_at else self._modified_at,
                planned_scenarios=[scenario_id(DATASET, test) for test in tests],
                metadata=_known(
                    evaluation=envelope.eval_id if envelope else None,
                    promptfoo=envelope.metadata if envelope else None,
                    prompt_number=run.prompt_idx + 1,
                ),
            )

    def _run(self, result: Result) -> Run:
        prompts = self._envelope.results.prompts if self._envelope else []
        template = prompts[result.prompt_idx] if 0 <= result.prompt_idx < len(prompts) else None
        return Run(
            prompt_idx=result.prompt_idx,
            key="",
            provider=result.provider,
            prompt=template or Prompt(label=result.prompt.label),
            prompt_id=result.prompt_id or (template.id if template else None) or "",
            executed_at=self._started_at or self._modified_at,
        )

    def _settle(self, run: Run, members: list[tuple[int, str, str]]) -> None:
        """Names the run by its first result and numbers the repeats of each test."""
        evaluation = self._envelope.eval_id if self._envelope else None
        run.key = members[0][1] or f"{evaluation or content_hash(members)[:16]}:{run.prompt_idx}"
        repeats: dict[str, int] = {}
        for test_idx, _, test in members:
            if (test, test_idx) not in run.epochs:
                repeats[test] = repeats.get(test, 0) + 1
                run.epochs[test, test_idx] = repeats[test]

    def _time_of_evaluation(self) -> datetime | None:
        try:
            return moment(self._envelope.results.timestamp, "timestamp") if self._envelope else None
        except UnusableLine:
            return None

    def _config(self, run: Run) -> dict[str, Any]:
        """Settings of the run; of a jsonl those that results repeat."""
        provider, prompt = run.provider, run.prompt
        return {
            "model": run.model,
            "provider": _known(id=provider.id, label=provider.label, config=self._provider_config(provider)),
            "prompt": _known(id=run.prompt_id, label=prompt.label, template=prompt.raw, config=prompt.config),
        }

    def _provider_config(self, provider: Provider) -> Any:
        """The provider's settings as the suite gives them, which results do not repeat."""
        providers = self._envelope.suite("providers") if self._envelope else None
        for written in providers if isinstance(providers, list) else []:
            if not isinstance(written, dict):
                continue
            if written.get("id") == provider.id and written.get("label") in (None, provider.label):
                return written.get("config")
            settings = written.get(provider.id)
            if isinstance(settings, dict):
                return settings.get("config")
        return provider.config


def cost_of(result: Result) -> float | None:
    """USD as reported; None where nothing was: a provider that reports no cost is counted as 0 by promptfoo."""
    reported = result.response.cost if result.response else None
    return reported if reported is not None else result.cost or None


def _count(run: Run, result: Result) -> None:
    run.costs.append(cost_of(result))
    if result.reason != ERROR and result.score is not None:
        run.scores.append(result.score)
        if not 0 <= result.score <= 1:
            run.score_scale = UNBOUNDED


def _known(**fields: Any) -> dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value}


def _label(run: Run) -> str:
    label = run.prompt.label or run.prompt_id[:12] or f"prompt {run.prompt_idx + 1}"
    if len(label) <= _LABEL_CHARACTERS:
        return label
    return f"{label[:_LABEL_CHARACTERS]}… {run.prompt_id[:12]}".rstrip()
