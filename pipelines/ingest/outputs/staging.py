"""Records of documents → rows of one staging table: checked, redacted, priced, with the ids that they will have."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import yaml

from pipelines.ingest.files import keyed_hash
from pipelines.ingest.outputs import checks, failures
from pipelines.ingest.prices import ModelPrice, price_rows
from pipelines.ingest.redaction import MAX_CHARACTERS, Redactor
from pipelines.sources import yaml_text
from pipelines.sources.cutting import cut
from pipelines.sources.outputs import Failure, Iteration, Outcome, Record, Run, Sample, Scenario, Simulation, ToolUse
from pipelines.sources.records import BadLine, stable_uuid

MAX_NAME = 200
MAX_MESSAGE = 10_000
MAX_TAGS = 20
MAX_INDEXED_BYTES = 800
"""Of a text that stands in an index: three of them, as of the leaderboard, fit into one entry."""
_SAMPLE_BYTES = 256

StagedRow = tuple[str, int, int, int, str, str]
"""Kind, order, line, offset, project and body of one record."""


class Staging:
    """Turns the records of one document into rows; what cannot be stored is collected in ``bad``."""

    def __init__(
        self,
        redactor: Redactor,
        source: str,
        project_id: str,
        now: datetime,
        document_time: datetime,
        *,
        may_name_projects: bool = True,
    ) -> None:
        self.bad: list[BadLine] = []
        self.good = 0
        self.projects: set[str] = set()
        self.first_at: datetime | None = None
        self.last_at: datetime | None = None
        self._redactor = redactor
        self._source = source
        self._project_id = project_id
        self._may_name_projects = may_name_projects
        self._now = now
        self._document_time = document_time
        self._project_of_parent: dict[str, str] = {}
        self._prices = _Prices()

    def rows(self, records: Iterable[Record]) -> Iterator[StagedRow]:
        """One row a record that can be stored, in the order of the document."""
        for number, record in enumerate(records):
            if isinstance(record, BadLine):
                self.bad.append(record)
                continue
            problem = checks.problem(record, self._now)
            if problem is None:
                try:
                    body = msgspec.json.encode(_without_nul(self._body(record))).decode()
                except UnicodeEncodeError:
                    problem = checks.Problem(
                        "not_unicode", f"{checks.name_of(record)} holds text that is no valid Unicode."
                    )
            if problem is not None:
                self.bad.append(
                    BadLine(
                        line=record.line,
                        offset=record.offset,
                        length=0,
                        reason=problem.reason,
                        detail=problem.detail,
                        sample=_sample(record),
                    )
                )
                continue
            self.good += 1
            yield type(record).__name__.lower(), number, record.line, record.offset, self._project(record), body

    def _project(self, record: Any) -> str:
        """The project that the record names where it may, else its parent's, else the document's."""
        parent = getattr(record, "run_key", None) or getattr(record, "simulation_key", None)
        project: str = self._project_of_parent.get(parent or "", self._project_id)
        if record.project and self._may_name_projects:
            project = record.project
        if isinstance(record, Run | Simulation):
            self._project_of_parent[record.key] = project
        self.projects.add(project)
        return project

    def _body(self, record: Any) -> dict[str, Any]:
        body = self._redacted(record)
        match record:
            case Run():
                body["id"] = self._run_id(record.key)
                body["run_name"] = _indexable(_one_line(body.pop("name"))) or "unnamed"
                for field in ("key", "task", "dataset_hash"):
                    body[field] = body[field] and _indexable(body[field])
                body["tags"] = [_indexable(tag) for tag in body["tags"]]
                body["config"] = _with_indexable_names(body["config"])
                body["optimizer_type"] = _slug(body["optimizer_type"])
                body["created_at"] = body["created_at"] or body["start_time"] or self._document_time
                self._see(record.created_at or record.start_time)
            case Iteration() | Sample():
                body["run_id"] = self._run_id(record.run_key)
                body["id"] = stable_uuid(
                    f"{body['run_id']}:{record.iteration}:{getattr(record, 'sample_index', 'iteration')}"
                )
            case Scenario():
                body["name"] = _one_line(body["name"])[:MAX_NAME] or record.scenario_id
                body["tags"] = [_indexable(tag) for tag in body["tags"][:MAX_TAGS]]
                body["task_prompt"] = body["task_prompt"] or None
            case Simulation():
                self._complete_simulation(body, record)
            case Outcome():
                self._complete_outcome(body, record)
        return body

    def _run_id(self, key: str) -> str:
        return stable_uuid(f"run:{self._source}:{key}")

    def _complete_simulation(self, body: dict[str, Any], record: Simulation) -> None:
        body["id"] = stable_uuid(f"simulation:{self._source}:{record.key}")
        body["key"] = _indexable(body["key"])
        body["config_name"] = _one_line(body["config_name"])[:MAX_NAME] or "unnamed"
        body["name"] = _one_line(body["name"] or "")[:MAX_NAME] or None
        text = self._yaml(record.config_yaml or "") or yaml.safe_dump(
            body["config"], allow_unicode=True, sort_keys=True
        )
        body["config_yaml"] = text
        body["config_hash"] = hashlib.sha256(text.encode()).hexdigest()
        body["created_at"] = body["created_at"] or body["started_at"] or self._document_time
        body["timeout_ms"] = body["timeout_ms"] or None  # tools write 0 for no limit
        if record.status == "completed":
            body["completed_at"] = body["completed_at"] or body["started_at"] or self._document_time
        elif record.status in ("pending", "running"):
            body["completed_at"] = None

    def _complete_outcome(self, body: dict[str, Any], record: Outcome) -> None:
        self._see(record.execution_time)
        body["simulation_id"] = stable_uuid(f"simulation:{self._source}:{record.simulation_key}")
        body["id"] = stable_uuid(f"{body['simulation_id']}:{record.scenario_id}:{record.epoch}")
        if record.tokens_used is None:
            counted = [
                record.input_tokens,
                record.cache_read_tokens,
                record.cache_creation_tokens,
                record.output_tokens,
            ]
            known = [tokens for tokens in counted if tokens is not None]
            body["tokens_used"] = sum(known) if known else None
        body["cost_status"] = "reported"
        if record.cost_usd is None:
            price = self._prices.of(record)
            body["cost_usd"] = None if price is None else str(_cost(record, price))
            body["cost_status"] = "unpriced" if price is None else "computed"
            body["price_version"] = None if price is None else price.price_version
        body["trajectory"] = {
            "start_time": record.execution_time,
            "status": record.status,
            **body["trajectory"],
        }
        body["tools"] = [self._tool(tool, number) for number, tool in enumerate(record.tools, 1)]
        body["failures"] = [
            self._failure(failure, body["id"], number) for number, failure in enumerate(record.failures, 1)
        ]

    def _tool(self, tool: ToolUse, number: int) -> dict[str, Any]:
        body = self._redacted(tool)
        body["call_number"] = number
        body["tool_name"] = _indexable(body["tool_name"])
        body["error_message"] = cut(body["error_message"] or "", MAX_MESSAGE) or None
        if tool.status != "error":
            body["error_type"] = body["error_message"] = None
        return body

    def _failure(self, failure: Failure, outcome_id: str, number: int) -> dict[str, Any]:
        message = cut(self._redactor.text(failure.message), MAX_MESSAGE)
        failure_type = failure.failure_type or failures.type_of(message)
        category = failure.category or failures.category_of(failure_type, message)
        failure_type = _one_line(self._redactor.text(failure_type or category))[:MAX_NAME]
        template = failures.template_of(message)
        return {
            "pattern_id": stable_uuid(f"{outcome_id}:failure:{number}"),
            "failure_type": failure_type,
            "failure_category": category,
            "error_message": message or None,
            "error_template": template or None,
            "cluster_id": failures.cluster_of(failure_type, template),
            "recovery_attempted": failure.recovery_attempted or failure.recovery_successful,
            "recovery_successful": failure.recovery_successful,
        }

    def _redacted(self, record: msgspec.Struct) -> dict[str, Any]:
        """All fields, texts and everything below them redacted; times stay times."""
        body: dict[str, Any] = {}
        for field, value in msgspec.structs.asdict(record).items():
            if field == "scenario_id":
                body[field] = self._scenario_id(value)
            elif field == "planned_scenarios":
                body[field] = [self._scenario_id(planned) for planned in value]
            elif isinstance(value, str):
                body[field] = self._redactor.text(value)
            elif isinstance(value, dict | list) and field not in ("tools", "failures"):
                body[field] = self._redactor.tree(value)
            else:
                body[field] = value
        return body

    def _scenario_id(self, scenario_id: str) -> str:
        """The id, still one when a part of it was redacted; equal ids stay equal."""
        redacted = self._redactor.text(scenario_id)
        return redacted if redacted == scenario_id else re.sub(r"[^a-z0-9_.:/-]", "", redacted.lower())[:MAX_NAME]

    def _yaml(self, text: str) -> str:
        """The settings as written, redacted; nothing where they still hold a value that its name gives away."""
        if len(text) <= MAX_CHARACTERS:
            redacted = self._redactor.text(text)
        else:
            redacted = "".join(self._redactor.texts(text.splitlines(keepends=True)))
        try:
            settings = yaml_text.parse(redacted)
        except yaml_text.Refused:
            return ""
        return redacted if self._redactor.tree(settings) == settings else ""

    def _see(self, moment: datetime | None) -> None:
        if moment is None:
            return
        self.first_at = moment if self.first_at is None else min(self.first_at, moment)
        self.last_at = moment if self.last_at is None else max(self.last_at, moment)


class _Prices:
    """List prices, looked up once per model."""

    def __init__(self) -> None:
        self._rows: dict[str, list[ModelPrice]] = {}

    def of(self, outcome: Outcome) -> ModelPrice | None:
        """The price of its day; None where the model has no known one or the kinds of tokens are not told apart."""
        if not outcome.model or outcome.input_tokens is None or outcome.output_tokens is None:
            return None
        rows = self._rows.get(outcome.model)
        if rows is None:
            rows = self._rows[outcome.model] = price_rows([outcome.model])
        prompt = outcome.input_tokens + (outcome.cache_read_tokens or 0) + (outcome.cache_creation_tokens or 0)
        valid = [row for row in rows if _holds(row, outcome.execution_time, prompt)]
        return max(valid, key=lambda row: row.min_prompt_tokens, default=None)


def _cost(outcome: Outcome, price: ModelPrice) -> Decimal:
    """USD of the tokens."""
    return (
        (outcome.input_tokens or 0) * price.input_usd_per_mtok
        + (outcome.cache_creation_tokens or 0) * price.cache_write_5m_usd_per_mtok
        + (outcome.cache_read_tokens or 0) * price.cache_read_usd_per_mtok
        + (outcome.output_tokens or 0) * price.output_usd_per_mtok
    ) / 1_000_000


def _holds(price: ModelPrice, moment: datetime, prompt_tokens: int) -> bool:
    if price.min_prompt_tokens and prompt_tokens <= price.min_prompt_tokens:
        return False
    return datetime.fromisoformat(price.valid_from) <= moment and (
        price.valid_to is None or moment < datetime.fromisoformat(price.valid_to)
    )


def bad_line_row(line: BadLine, redactor: Redactor, key: bytes, entry: Any) -> tuple[Any, ...]:
    """The line as a row of staged_bad_lines; ``entry`` is its document in the ledger."""
    return (
        keyed_hash(key, entry.file_key, str(line.offset), line.reason, line.detail, line.sample),
        entry.file_key,
        entry.path,
        line.line,
        line.offset,
        line.length,
        entry.source,
        entry.project_id,
        line.reason,
        redactor.text(line.detail).replace("\x00", "\ufffd"),
        redactor.sample(line.sample).replace("\x00", "\ufffd"),
    )


def _sample(record: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(record)[:_SAMPLE_BYTES]
    except (UnicodeEncodeError, TypeError, msgspec.MsgspecError):
        return repr(record)[:_SAMPLE_BYTES].encode("utf-8", "replace")


def _indexable(text: str) -> str:
    """The text as an index takes it: of a longer one its beginning and a hash, so that different ones stay so."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= MAX_INDEXED_BYTES:
        return text
    digest = hashlib.sha256(data).hexdigest()[:12]
    return f"{data[: MAX_INDEXED_BYTES - 20].decode('utf-8', 'ignore')}… {digest}"


def _with_indexable_names(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, the names that the warehouse looks runs up by at a length that an index takes."""
    config = {
        name: _indexable(value) if name in ("model", "metric") and isinstance(value, str) else value
        for name, value in config.items()
    }
    for name, field in (("model_config", "model"), ("miprov2", "task_model"), ("miprov2", "metric")):
        if isinstance(part := config.get(name), dict) and isinstance(value := part.get(field), str):
            config[name] = part | {field: _indexable(value)}
    return config


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _slug(text: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in text.lower()).lstrip("_.-")
    return kept[:100] or "custom"


def _without_nul(value: Any) -> Any:
    """PostgreSQL's texts hold no NUL."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd") if "\x00" in value else value
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_without_nul(member) for member in value]
    return value
