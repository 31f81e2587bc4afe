"""What optimizers and evaluations leave behind, as readers hand it to ingest: unredacted, not yet owned by a project.

One record is one row, told apart by the names its source gave it (``run_key``, ``scenario_id`` …); ids, costs and
failure classes are settled by ingest. Records may come in any order: ingest brings parents and children together, and
refuses a child whose parent is neither in the document nor in the warehouse. Amounts that are unknown are None, never
zero. Times carry their zone; readers of formats without zones take UTC.
"""

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from pipelines.sources.records import BadLine

RunStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
OutcomeStatus = Literal["success", "error", "timeout", "cancelled"]
ToolUseStatus = Literal["ok", "error", "unanswered"]
EvaluationKind = Literal["full", "minibatch"]
Direction = Literal["maximize", "minimize"]
FailureCategory = Literal["timeout", "tool_error", "model_error", "validation_error", "system_error", "unknown"]

PROJECT_ID = r"[a-z0-9][a-z0-9._-]{0,99}"
ProjectId = Annotated[str, msgspec.Meta(pattern=rf"\A{PROJECT_ID}\Z")]

Scale = tuple[float | None, float | None]
"""Smallest and largest score possible; None where there is no bound."""

UNIT: Scale = (0.0, 1.0)
PERCENT: Scale = (0.0, 100.0)
UNBOUNDED: Scale = (None, None)


class Place(msgspec.Struct, kw_only=True):
    """Where in its document a record stands; named in quarantine."""

    line: int = 0
    """From 1; 0 where the format has no lines."""
    offset: int = 0
    """First byte, from 0."""
    project: str | None = None
    """Project that the record itself names; None leaves it to the document's."""


class Run(Place, kw_only=True):
    """One optimization run."""

    key: str
    """Identity in its source: the same run has the same key in whatever file it is seen."""
    name: str
    optimizer_type: str
    """miprov2, gepa, bootstrap, copro, simba, bayesian, grid_search, custom …"""
    status: RunStatus
    config: dict[str, Any] = {}
    """As given, unknown keys included; ``optimizer``, ``metric``, ``model_config.model`` are read by the warehouse."""
    search_space: dict[str, Any] | None = None
    task: str | None = None
    """Runs compare within one task, metric, dataset hash and evaluation kind."""
    dataset_hash: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    score_scale: Scale = UNIT
    score_direction: Direction = "maximize"
    evaluation_kind: EvaluationKind = "full"
    """How the final score was measured."""
    initial_score_raw: float | None = None
    final_score_raw: float | None = None
    reported_iterations: int | None = None
    reported_best_score_raw: float | None = None
    reported_tokens: int | None = None
    reported_cost_usd: float | None = None
    avg_latency_ms: float | None = None
    samples_evaluated: int | None = None
    successful_samples: int | None = None
    failed_samples: int | None = None
    best_params: dict[str, Any] | None = None
    best_program: Any = None
    final_program: Any = None
    program_hash: str | None = None
    evaluation_results: Any = None
    error_message: str | None = None
    error_stack: str | None = None
    metadata: dict[str, Any] = {}
    tags: list[str] = []
    created_at: datetime | None = None


class Iteration(Place, kw_only=True):
    """One evaluation of a candidate within a run, on the run's scale."""

    run_key: str
    iteration: int
    """From 0 or 1, as the source numbers; gaps are allowed."""
    evaluation_kind: EvaluationKind = "full"
    score_raw: float | None = None
    candidate_key: str | None = None
    parent_iterations: list[int] = []
    """Iterations whose candidates this one was made of; each earlier than this one."""
    program_hash: str | None = None
    params: dict[str, Any] = {}
    program: Any = None
    samples_in_iteration: int | None = None
    successful_samples: int | None = None
    avg_score: float | None = None
    std_dev: float | None = None
    metric_calls_so_far: int | None = None
    iteration_start_time: datetime | None = None
    iteration_end_time: datetime | None = None
    tokens_used: int | None = None
    cost_usd: float | None = None
    metadata: dict[str, Any] = {}


class Sample(Place, kw_only=True):
    """One example evaluated within an iteration."""

    run_key: str
    iteration: int
    sample_index: int
    sample_key: str | None = None
    """Identity of the example in its dataset, where the source has one."""
    input: Any = None
    predicted_output: Any = None
    expected_output: Any = None
    score_raw: float | None = None
    score_scale: Scale = UNIT
    is_correct: bool | None = None
    program_hash: str | None = None
    latency_ms: int | None = None
    tokens_used: int | None = None
    cost_usd: float | None = None
    error_message: str | None = None
    metadata: dict[str, Any] = {}


class Scenario(Place, kw_only=True):
    """One task that configurations are put to; of a dataset, one sample."""

    scenario_id: str
    """Made by :func:`scenario_id`."""
    name: str
    task_prompt: str | None = None
    ground_truth: Any = None
    difficulty_level: Literal["easy", "medium", "hard"] | None = None
    tags: list[str] = []
    expected_tools: list[str] | None = None
    dataset: str | None = None
    source_id: str | None = None
    """As the dataset names it."""
    estimated_duration_ms: int | None = None


class Simulation(Place, kw_only=True):
    """One run of one configuration over scenarios. Its configuration becomes a version when it is new."""

    key: str
    config_name: str
    """What stays the same while settings change: task and model, mostly."""
    config: dict[str, Any]
    """Settings of the version; ``model`` names the model."""
    config_yaml: str | None = None
    """The settings as written, where the source has YAML; else ingest writes it."""
    name: str | None = None
    status: RunStatus
    overall_score_raw: float | None = None
    score_scale: Scale = UNIT
    execution_time_ms: int | None = None
    total_cost_usd: float | None = None
    timeout_ms: int | None = None
    max_retries: int | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    created_at: datetime | None = None
    planned_scenarios: list[str] = []
    """Scenarios that the run names, in order, with or without an outcome."""
    metadata: dict[str, Any] = {}


class ToolUse(msgspec.Struct, kw_only=True):
    """One call of a tool within an outcome, in order."""

    tool_name: str
    status: ToolUseStatus = "ok"
    started_at: datetime | None = None
    duration_ms: float | None = None
    cost_usd: float | None = None
    error_type: str | None = None
    error_message: str | None = None


class Failure(msgspec.Struct, kw_only=True):
    """What went wrong in an outcome."""

    message: str
    failure_type: str | None = None
    """Name of the error as the source gives it; ingest finds one where it is None."""
    category: FailureCategory | None = None
    """None lets ingest decide by type and message."""
    recovery_attempted: bool = False
    recovery_successful: bool = False


class Outcome(Place, kw_only=True):
    """One scenario run once by a simulation."""

    simulation_key: str
    scenario_id: str
    epoch: int = 1
    execution_time: datetime
    """When it ended, else began; the warehouse keeps the one of first sight."""
    status: OutcomeStatus
    score_raw: float | None = None
    """None where unscored."""
    score_scale: Scale = UNIT
    is_passed: bool | None = None
    execution_time_ms: float | None = None
    model: str | None = None
    tokens_used: int | None = None
    input_tokens: int | None = None
    """Uncached prompt tokens only."""
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """As reported; None lets ingest price the tokens."""
    trajectory: dict[str, Any] = {}
    """What happened, step by step, under ``steps``; ingest adds start and status."""
    step_count: int | None = None
    metrics: dict[str, Any] = {}
    """Further scores by name."""
    retry_count: int = 0
    error_code: str | None = None
    sandbox_id: str | None = None
    tools: list[ToolUse] = []
    failures: list[Failure] = []


Record = Run | Iteration | Sample | Scenario | Simulation | Outcome | BadLine


class Unreadable(ValueError):
    """A document that cannot be read at all; the message says why and what to do, without its path."""


def shown_name(name: str) -> str:
    """The name of a file as text that can be stored and shown: a byte that is no UTF-8 becomes U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def scenario_id(dataset: str, source_id: str | int) -> str:
    """Id of a dataset's sample: readable where its name allows, and always the same for the same two names.

    Lower case, at most 200 characters of ``a-z0-9_.:/-``; a hash follows where something had to be changed.
    """
    whole = f"{dataset}:{source_id}"
    slug = re.sub(r"[^a-z0-9_.:/-]+", "-", whole.lower()).strip("-.:/")
    if slug == whole and len(slug) <= 200:
        return slug
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{slug[:180].strip('-.:/') or 'scenario'}-{digest}"


def content_hash(value: Any) -> str:
    """Hash of a JSON-like value, whatever the order of its keys: of programs and datasets."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
