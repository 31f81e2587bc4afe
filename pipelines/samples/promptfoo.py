"""Results of promptfoo as its version 0.121 exports them: two providers with two prompts over routed tickets.

Every project has three evaluations: one as json, one as json and jsonl side by side, one as jsonl alone. Results
stand in the order in which they were finished. The same arguments give the same bytes.

    FOLDER/<project>/<day>.json|jsonl
"""

import hashlib
import json
import os
import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from pipelines.samples.generator import LAST_DAY, PROJECT_NAMES

PROMPTFOO_VERSION = "0.121.20"

_PROMPTS = (("short", "Route: {{ticket}}"), ("careful", "Answer with one queue. Ticket: {{ticket}}"))
_PROVIDERS = (("anthropic:messages:claude-sonnet-5-5", 0.9), ("anthropic:messages:claude-haiku-4-5-20251001", 0.75))
_TESTS = (
    ("invoice 12 is wrong", "billing"),
    ("the site is down", "outage"),
    ("please add a dark mode", "feature"),
    ("cannot reset my password", "account"),
    ("refund my last charge", "billing"),
)
_VERDICTS = ("successes", "failures", "errors")
_ERROR = "API error: 529 overloaded_error"
_EVALUATIONS = ((40, ("json",), 1), (20, ("json", "jsonl"), 2), (3, ("jsonl",), 1))
"""Days before the last, files, repeats."""


@dataclass
class PromptfooTruth:
    """What the results hold, counted from what was decided; a result that stands in two files counts once."""

    folder: Path
    projects: tuple[str, ...]
    files: int = 0
    simulations: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    """Results by ``successes``, ``failures``, ``errors``."""
    tokens: int = 0
    cost_usd: float = 0.0


def write(
    folder: Path, *, seed: int = 2026, last_day: date = LAST_DAY, projects: Sequence[str] = PROJECT_NAMES
) -> PromptfooTruth:
    """Writes the evaluations of some weeks that end on ``last_day`` and returns what they hold."""
    rng = random.Random(seed)  # noqa: S311  # the same seed must give the same bytes
    truth = PromptfooTruth(folder, tuple(projects))
    for project in projects:
        for days_ago, suffixes, repeats in _EVALUATIONS:
            started_at = datetime.combine(last_day - timedelta(days=days_ago), time(10), UTC)
            evaluation = _evaluation(rng, truth, started_at + timedelta(minutes=rng.randint(0, 300)), repeats)
            for suffix in suffixes:
                _write(folder / project, evaluation, suffix)
                truth.files += 1
    return truth


def _evaluation(rng: random.Random, truth: PromptfooTruth, started_at: datetime, repeats: int) -> dict[str, Any]:
    columns = [(provider, skill, *prompt) for provider, skill in _PROVIDERS for prompt in _PROMPTS]
    tests = [test for test in _TESTS for _ in range(repeats)]
    results = []
    verdicts: Counter[str] = Counter()
    for test_idx, (ticket, expected) in enumerate(tests):
        row = []
        for prompt_idx, (provider, skill, label, template) in enumerate(columns):
            draw = rng.random()
            verdict = "errors" if draw > 0.96 else "successes" if draw < skill else "failures"
            verdicts[verdict] += 1
            result = _result(rng, verdict, provider, label, template, ticket, expected)
            row.append(result | {"testIdx": test_idx, "promptIdx": prompt_idx})
            truth.tokens += result["tokenUsage"]["total"]
            truth.cost_usd += result["cost"]
        rng.shuffle(row)
        results += row
    truth.verdicts += verdicts
    truth.simulations += len(columns)
    duration_ms = sum(result["latencyMs"] for result in results)
    return {
        "evalId": f"eval-{uuid.UUID(int=rng.getrandbits(128)).hex[:3]}-{started_at:%Y-%m-%dT%H:%M:%S}",
        "results": {
            "version": 3,
            "timestamp": _timestamp(started_at),
            "prompts": [
                {"id": _prompt_id(template), "raw": template, "label": label, "provider": provider}
                for provider, _, label, template in columns
            ],
            "results": results,
            "stats": {name: verdicts[name] for name in _VERDICTS} | {"durationMs": duration_ms},
        },
        "config": {
            "description": "ticket routing",
            "providers": [{"id": provider, "config": {"temperature": 0}} for provider, _ in _PROVIDERS],
        },
        "metadata": {"promptfooVersion": PROMPTFOO_VERSION},
    }  # fmt: skip


def _result(
    rng: random.Random, verdict: str, provider: str, label: str, template: str, ticket: str, expected: str
) -> dict[str, Any]:
    asked = template.replace("{{ticket}}", ticket)
    output = f"The queue is {expected if verdict == 'successes' else 'unknown'}."
    check = {"type": "contains", "value": "{{expected}}"}
    prompt, completion = len(asked) // 4 + 20, len(output) // 4
    usage = {"prompt": prompt, "completion": completion, "cached": 0, "total": prompt + completion, "numRequests": 1}
    cost = (prompt * 3 + completion * 15) / 1e6
    is_right = verdict == "successes"
    reason = "All assertions passed" if is_right else f'Expected output to contain "{expected}"'
    response: dict[str, Any] = {"output": output, "cost": cost, "cached": False, "tokenUsage": usage}
    grading: dict[str, Any] | None = {
        "pass": is_right, "score": float(is_right), "reason": reason,
        "componentResults": [{"pass": is_right, "score": float(is_right), "reason": reason, "assertion": check}],
    }  # fmt: skip
    error = None if is_right else reason
    if verdict == "errors":
        usage = dict.fromkeys(usage, 0)
        response, grading, cost, error = {"error": _ERROR}, None, 0.0, _ERROR
    return {
        "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "cost": cost, "error": error, "gradingResult": grading, "latencyMs": rng.randint(300, 2500),
        "namedScores": {} if grading is None else {"brevity": 1}, "success": is_right, "score": float(is_right),
        "prompt": {"raw": asked, "label": label, "config": {}}, "promptId": _prompt_id(template),
        "provider": {"id": provider, "label": ""}, "response": response, "tokenUsage": usage,
        "testCase": {"vars": {"ticket": ticket, "expected": expected}, "assert": [check], "options": {}},
        "vars": {"ticket": ticket, "expected": expected},
        "failureReason": _VERDICTS.index(verdict),
    }  # fmt: skip


def _write(folder: Path, evaluation: dict[str, Any], suffix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    started_at = datetime.fromisoformat(evaluation["results"]["timestamp"])
    path = folder / f"{started_at:%Y-%m-%d}.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(evaluation, indent=2))
    else:
        path.write_text("".join(json.dumps(result) + "\n" for result in evaluation["results"]["results"]))
    ended_at = started_at.timestamp() + evaluation["results"]["stats"]["durationMs"] / 1000
    os.utime(path, (ended_at, ended_at))


def _timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _prompt_id(template: str) -> str:
    return hashlib.sha256(template.encode()).hexdigest()
