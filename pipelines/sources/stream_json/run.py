"""One headless run: the lines from its start to its ``result``, folded into one execution.

The stream has no clocks but on tool results, so the start is reckoned back from them or from the file's own time by
the duration that the result gives. Lines of the model carry the usage of the stream's start; what the run used in
truth stands in the result's ``modelUsage``.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pipelines.sources.content import ERROR_CHARACTERS, blocks_of, describe, plain_text, settle
from pipelines.sources.lines import Item, in_utc
from pipelines.sources.records import Execution, ReportedUsage, Status, ToolCall, stable_uuid
from pipelines.sources.responses import Key, Message, Response, Sighting, first_sight, key_of, model_name

from .schema import PASSED_OVER, Line, tool_result

_SAME_COST_USD = 1e-9


class Run(msgspec.Struct):
    """A run as far as its lines were seen."""

    offset: int
    lines: int
    """Lines of the file before the run."""
    sequence: int = 1
    session_id: str | None = None
    name: str | None = None
    """What tells the run from others of its session: of its lines, the first that has a uuid, a message or the result
    gives it. No later line changes it, so a run that is still growing keeps its identity."""
    cwd: str | None = None
    model: str | None = None
    version: str | None = None
    permission_mode: str | None = None
    first_clock: datetime | None = None
    last_clock: datetime | None = None
    result: Line | None = None
    api_error: str | None = None
    """Text of the error with which the run's last answer of the main conversation was made."""
    output: dict[str, Any] = {}
    responses: dict[Key, Response] = {}
    tools: dict[str, ToolCall] = {}
    unknown: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, item: Item) -> None:
        """Take one line in."""
        line: Line = item.value
        handler = {
            "assistant": self._assistant, "user": self._user, "system": self._system, "result": self._result
        }.get(line.type or "")  # fmt: skip
        if handler is not None:
            handler(item, line)
        elif line.type not in PASSED_OVER:
            self.unknown[(line.type or "(no type)")[:64]] += 1
        self.session_id = self.session_id or line.session_id
        if self.name is None:
            message_id = next((key[0] for key in self.responses), None)
            self.name = line.uuid or message_id or (str(self.offset) if self.result is not None else None)

    def _assistant(self, item: Item, line: Line) -> None:
        message = line.message or Message()
        blocks = blocks_of(message.content)
        is_main = line.parent_tool_use_id is None
        characters = describe(blocks, self.output if is_main else {})
        seen = Sighting(
            offset=item.offset,
            line_id=line.uuid or f"{line.session_id or self.session_id}:{item.number}",
            request_id=line.request_id or line.request_id_of_api,
            session_id=line.session_id or self.session_id,
            agent_id=line.parent_tool_use_id,
            characters=characters,
        )
        key = key_of(message, seen)
        response = self.responses.get(key)
        if response is None:
            self.responses[key] = first_sight(message, seen)
        else:
            response.add(message, seen)
        for block in blocks:
            if block.type == "tool_use" and block.id and block.id not in self.tools:
                self.tools[block.id] = ToolCall(
                    tool_use_id=block.id,
                    tool_name=block.name or "unknown",
                    offset=item.offset,
                    session_id=seen.session_id,
                    message_id=message.id,
                    agent_id=seen.agent_id,
                )
        if is_main:
            if message.stop_reason is not None:
                self.output["stop_reason"] = message.stop_reason
            failed = line.error is not None or line.is_api_error_message is True
            self.api_error = plain_text(message.content) or str(line.error) if failed else None

    def _user(self, item: Item, line: Line) -> None:
        blocks = blocks_of(line.message.content) if line.message is not None else []
        if line.timestamp is not None:
            clock = in_utc(line.timestamp)
            self.first_clock = min(self.first_clock or clock, clock)
            self.last_clock = max(self.last_clock or clock, clock)
        for block in blocks:
            call = self.tools.get(block.tool_use_id or "")
            if call is None or call.status != "unanswered":
                continue
            known = tool_result(line.tool_use_result)
            duration = known.duration_ms if known.duration_ms is not None else known.total_duration_ms
            settle(call, block, duration_ms=_milliseconds(duration))
            call.spawned_agent_id = known.agent_id or call.spawned_agent_id

    def _system(self, item: Item, line: Line) -> None:
        if line.subtype == "init":
            self.cwd = self.cwd or line.cwd
            self.model = self.model or line.model
            self.version = self.version or line.claude_code_version
            self.permission_mode = self.permission_mode or line.permission_mode
        elif line.task_id and (call := self.tools.get(line.tool_use_id or "")) is not None:
            call.spawned_agent_id = call.spawned_agent_id or line.task_id

    def _result(self, item: Item, line: Line) -> None:
        self.result = line
        for denial in line.permission_denials or []:
            if not denial.tool_use_id:
                continue
            call = self.tools.setdefault(
                denial.tool_use_id,
                ToolCall(
                    tool_use_id=denial.tool_use_id,
                    tool_name=denial.tool_name or "unknown",
                    offset=item.offset,
                    session_id=line.session_id or self.session_id,
                ),
            )
            call.status = "rejected"

    def execution(self, fallback_time: datetime) -> Execution:
        """The run as an execution; its requests and tool calls are made to name it."""
        session_id = self.session_id
        identity = stable_uuid(f"run:{session_id}:{self.name}")
        for response in self.responses.values():
            response.request.execution_id = identity
        for call in self.tools.values():
            call.execution_id = identity
        duration_ms = _milliseconds(self.result.duration_ms) if self.result else None
        start, end = self._times(fallback_time, duration_ms)
        status, reason, error = self._status()
        if self.result is not None and self.result.stop_reason is not None:
            self.output["stop_reason"] = self.result.stop_reason
        return Execution(
            id=identity,
            kind="run",
            timestamp=start,
            ended_at=end,
            line=self.lines + 1,
            offset=self.offset,
            session_id=session_id,
            sequence=self.sequence,
            status=status,
            status_reason=reason,
            error_message=error[:ERROR_CHARACTERS] if error else None,
            workspace={"cwd": self.cwd} if self.cwd else {},
            session={
                name: value
                for name, value in (("version", self.version), ("permission_mode", self.permission_mode))
                if value
            },
            output=dict(self.output),
            duration_ms=duration_ms,
            reported_usage=reported_usage(self.result, self.model) if self.result else None,
        )

    def _times(self, fallback_time: datetime, duration_ms: int | None) -> tuple[datetime, datetime]:
        first, last = self.first_clock or fallback_time, self.last_clock or fallback_time
        try:
            start = min(first, last - timedelta(milliseconds=duration_ms or 0))
        except OverflowError:
            return first, last
        return start, last

    def _status(self) -> tuple[Status, str, str | None]:
        result = self.result
        if result is None:
            if self.api_error is not None:
                return "failed", "api_error", self.api_error
            return "pending", "no_result", None
        subtype = result.subtype or "success"
        if subtype != "success":
            return "failed", subtype, _error_text(result)
        if result.is_error:
            return "failed", "api_error", _error_text(result) or self.api_error
        return "completed", "answered", None


def reported_usage(result: Line, main_model: str | None) -> list[ReportedUsage] | None:
    """Usage by model as ``result`` gives it, its costs brought to the sum that the total says.

    ``modelUsage`` where there is one, else ``usage`` put down to the run's main model; None without either.
    """
    if result.model_usage is None and result.usage is None:
        return None
    by_model: dict[str, ReportedUsage] = {}
    for name, used in (result.model_usage or {}).items():
        model = model_name(name)
        usage = ReportedUsage(
            model=model,
            input_tokens=used.input_tokens,
            cache_creation_tokens=used.cache_creation_input_tokens,
            cache_read_tokens=used.cache_read_input_tokens,
            output_tokens=used.output_tokens,
            web_search_requests=used.web_search_requests or 0,
            cost_usd=used.cost_usd,
        )
        by_model[model] = _sum(by_model[model], usage) if model in by_model else usage
    if result.model_usage is None and result.usage is not None:
        five, hour = result.usage.cache_writes()
        searches = result.usage.server_tool_use
        model = model_name(main_model or "unknown")
        by_model[model] = ReportedUsage(
            model=model,
            input_tokens=result.usage.input_tokens or 0,
            cache_creation_tokens=five + hour,
            cache_read_tokens=result.usage.cache_read_input_tokens or 0,
            output_tokens=result.usage.output_tokens or 0,
            web_search_requests=(searches.web_search_requests or 0) if searches else 0,
            cost_usd=result.total_cost,
        )
    return _priced(list(by_model.values()), result.total_cost)


def _sum(one: ReportedUsage, other: ReportedUsage) -> ReportedUsage:
    costs = [cost for cost in (one.cost_usd, other.cost_usd) if cost is not None]
    return ReportedUsage(
        model=one.model,
        input_tokens=one.input_tokens + other.input_tokens,
        cache_creation_tokens=one.cache_creation_tokens + other.cache_creation_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        web_search_requests=one.web_search_requests + other.web_search_requests,
        cost_usd=sum(costs) if costs else None,
    )


def _priced(usages: list[ReportedUsage], total: float | None) -> list[ReportedUsage]:
    """``usages`` with costs that add up to ``total``: scaled, or shared by tokens where no model has a cost."""
    listed = sum(usage.cost_usd or 0 for usage in usages)
    if total is None or not usages or abs(listed - total) <= _SAME_COST_USD:
        return usages
    weights = [usage.cost_usd or 0.0 for usage in usages]
    if not listed:
        weights = [float(_tokens(usage)) for usage in usages]
    whole = sum(weights)
    shares = [weight / whole for weight in weights] if whole else [1 / len(usages)] * len(usages)
    return [msgspec.structs.replace(usage, cost_usd=total * share) for usage, share in zip(usages, shares, strict=True)]


def _tokens(usage: ReportedUsage) -> int:
    return usage.input_tokens + usage.cache_creation_tokens + usage.cache_read_tokens + usage.output_tokens


def _error_text(result: Line) -> str | None:
    if isinstance(result.result, str) and result.result:
        return result.result
    if isinstance(result.errors, list):
        return "\n".join(error for error in result.errors if isinstance(error, str)) or None
    return None


def _milliseconds(value: float | None) -> int | None:
    return round(value) if value is not None and 0 <= value < 2**53 else None
