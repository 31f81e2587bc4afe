"""What five optimizers of DSPy leave of a compile, in their real files, made from outcomes drawn example by example.

A candidate answers each example rightly or wrongly; scores are counted from that, never drawn themselves, so that
scores, subscores and budgets agree as they do in real runs.
"""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSIONS = {"python": "3.11", "dspy": "3.4.1", "cloudpickle": "3.1"}
MINIBATCH = 10
"""Examples of a minibatch; the whole set is larger."""

_HINTS = (
    "Answer with one lower-case word.",
    "Look for the strongest keyword first.",
    "Think about who has to act.",
    "Prefer the most urgent label when two fit.",
    "Ignore greetings and signatures.",
    "When in doubt, choose the more general label.",
)


@dataclass(frozen=True)
class Task:
    """What a program is compiled for."""

    name: str
    instructions: str
    labels: tuple[str, ...]
    examples: int
    """Size of the evaluation set."""


@dataclass
class Written:
    """What stands in the files of one compile."""

    optimizer_type: str
    scale: tuple[float, float]
    initial: float | None
    final: float
    scores: list[float]
    """Of all iterations, in order."""
    full: int
    """Of these, on the whole set."""
    samples: int = 0
    correct: int = 0
    parents: list[list[int]] = field(default_factory=list)


class Compile:
    """One compile of one task; ``write_*`` writes the files of one optimizer."""

    def __init__(self, rng: random.Random, task: Task, folder: Path) -> None:
        self.rng, self.task, self.folder = rng, task, folder
        self.quality = rng.uniform(0.45, 0.6)

    def write_miprov2(self) -> Written:
        """Trials on minibatches, after every fifth the best mean on the whole set."""
        logs: dict[str, dict[str, Any]] = {}
        measured: list[dict[str, Any]] = []
        calls, scores = 0, []
        programs = [self._program(number) for number in range(4)]

        def measure(trial: int, number: int, kind: str) -> float:
            nonlocal calls
            size = MINIBATCH if kind == "mb" else self.task.examples
            score = round(100 * sum(self._outcomes(number, size)) / size, 2)
            calls += size
            state = {"__module_state__": programs[number]}
            measured.append({"score": score, "program": state, "full_eval": kind != "mb"})
            name = f"program_{-1 if trial == 1 else trial}{'' if kind == 'mb' or trial == 1 else '_full_eval'}.json"
            logs.setdefault(str(trial), {}).update(
                {
                    f"{kind}_program_path": f"log_dir/evaluated_programs/{name}", f"{kind}_score": score,
                    "total_eval_calls_so_far": calls, f"{kind}_program": state,
                }
            )  # fmt: skip
            self._json(f"log_dir/evaluated_programs/{name}", self._saved(programs[number]))
            scores.append(score)
            return score

        best, best_number = measure(1, 0, "full_eval"), 0
        initial, trial, means = best, 1, dict[int, float]()
        for step in range(1, 11):
            trial += 1
            number = self.rng.randrange(len(programs))
            logs[str(trial)] = {"0_predictor_instruction": number, "0_predictor_demos": number}
            means[number] = measure(trial, number, "mb")
            if step % 5 == 0:
                trial += 1
                candidate = max(means, key=lambda n: means[n])
                score = measure(trial, candidate, "full_eval")
                if score > best:
                    best, best_number = score, candidate
        ranked = sorted(measured, key=lambda candidate: -float(candidate["score"]))
        self._json("trial_logs.json", logs)
        self._json("candidate_programs.json", [c for c in ranked if c["full_eval"]])
        self._json("mb_candidate_programs.json", [c for c in ranked if not c["full_eval"]])
        self._json("program.json", self._saved(programs[best_number]))
        return Written("miprov2", (0.0, 100.0), initial, best, scores, full=3)

    def write_random_search(self) -> Written:
        """Seeds from -3, the program as given, each on the whole set."""
        outcomes = {seed: self._outcomes(0 if seed == -3 else seed + 3, self.task.examples) for seed in range(-3, 5)}
        candidates = [
            {
                "score": self._percent(found), "subscores": [float(right) for right in found], "seed": seed,
                "program": {"__module_state__": self._program(0 if seed == -3 else seed + 3)},
            }
            for seed, found in outcomes.items()
        ]  # fmt: skip
        ranked = sorted(candidates, key=lambda candidate: -float(str(candidate["score"])))
        self._json("candidate_programs.json", ranked)
        self._json("program.json", self._saved(self._program(max(0, int(str(ranked[0]["seed"])) + 3))))
        scores = [self._percent(found) for found in outcomes.values()]
        return Written(
            "bootstrap", (0.0, 100.0), scores[0], max(scores), scores, len(scores),
            samples=sum(map(len, outcomes.values())), correct=sum(map(sum, outcomes.values())),
        )  # fmt: skip

    def write_copro(self) -> Written:
        """Instructions, depth by depth."""
        candidates = []
        for number in range(6):
            program = self._program(number)
            candidates.append(
                {
                    "score": self._percent(self._outcomes(number, self.task.examples)),
                    "program": {"__module_state__": program},
                    "instruction": program["classify.predict"]["signature"]["instructions"],
                    "prefix": "Category:", "depth": number // 3,
                }
            )  # fmt: skip
        ranked = sorted(candidates, key=lambda candidate: -candidate["score"])
        self._json("candidate_programs.json", ranked)
        self._json("program.json", self._saved(ranked[0]["program"]["__module_state__"]))
        scores = [c["score"] for depth in (0, 1) for c in ranked if c["depth"] == depth]
        return Written("copro", (0.0, 100.0), None, max(scores), scores, len(scores))

    def write_simba(self) -> Written:
        """Steps, each better or worse than the program as given, on the training set."""
        scores = [round(sum(self._outcomes(number, self.task.examples)) / self.task.examples, 4) for number in range(5)]
        candidates = [
            {"score": score, "program": {"__module_state__": self._program(number)}}
            for number, score in enumerate(scores)
        ]
        ranked = sorted(candidates, key=lambda candidate: -float(str(candidate["score"])))
        self._json("trial_logs.json", {str(step): {"train_score": score} for step, score in enumerate(scores[1:])})
        self._json("candidate_programs.json", ranked)
        self._json("program.json", self._saved(self._program(scores.index(max(scores)))))
        return Written("simba", (0.0, 1.0), scores[0], max(scores), scores, len(scores))

    def write_gepa(self) -> Written:
        """Candidates that rewrite one earlier candidate or merge two."""
        parents = [[], [0], [1], [0], [2, 3]]
        programs = [self._program(number, with_demos=False) for number in range(len(parents))]
        outcomes = [self._outcomes(number, self.task.examples) for number in range(len(parents))]
        scores = [round(sum(found) / len(found), 4) for found in outcomes]
        size = self.task.examples
        best = scores.index(max(scores))
        self._json(
            "detailed_results.json",
            {
                "candidates": [
                    {name: part["signature"]["instructions"] for name, part in program.items()} for program in programs
                ],
                "parents": [found or [None] for found in parents],
                "val_aggregate_scores": scores,
                "val_subscores": [{str(n): float(right) for n, right in enumerate(found)} for found in outcomes],
                "discovery_eval_counts": [number * (size + 6) for number in range(len(parents))],
                "total_metric_calls": len(parents) * (size + 6), "num_full_val_evals": len(parents),
                "log_dir": None, "seed": 0, "best_idx": best,
            },
        )  # fmt: skip
        self._json("program.json", self._saved(programs[best]))
        return Written(
            "gepa", (0.0, 1.0), scores[0], scores[best], scores, len(scores),
            samples=size * len(parents), correct=sum(map(sum, outcomes)), parents=parents,
        )  # fmt: skip

    def write_attributes(self, attributes: dict[str, Any]) -> None:
        """What the export adds about the run."""
        self._json("attrs.json", {"_compiled": True, **attributes})

    def _outcomes(self, number: int, size: int) -> list[bool]:
        """Whether candidate ``number`` answers each example rightly; later candidates mostly do better."""
        return [self.rng.random() < min(0.95, self.quality + 0.07 * number) for _ in range(size)]

    def _percent(self, outcomes: list[bool]) -> float:
        return round(100 * sum(outcomes) / len(outcomes), 2)

    def _program(self, number: int, *, with_demos: bool = True) -> dict[str, Any]:
        hints = " ".join(_HINTS[: number % (len(_HINTS) + 1)])
        demos = [
            {"augmented": True, "ticket": f"Sample {shown} of {self.task.name}", "category": label}
            for shown, label in enumerate(self.task.labels[: number // 2] if with_demos else ())
        ]
        fields = [
            {"prefix": "Ticket:", "description": "${ticket}"},
            {"prefix": "Category:", "description": f"one of {', '.join(self.task.labels)}"},
        ]
        return {
            "classify.predict": {
                "traces": [], "train": [], "demos": demos,
                "signature": {"instructions": f"{self.task.instructions} {hints}".strip(), "fields": fields},
                "lm": None,
            }
        }  # fmt: skip

    def _saved(self, program: dict[str, Any]) -> dict[str, Any]:
        return program | {"metadata": {"dependency_versions": VERSIONS}}

    def _json(self, name: str, value: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
