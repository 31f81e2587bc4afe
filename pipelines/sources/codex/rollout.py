"""Turns the lines of one rollout into executions, requests and tool calls.

A rollout is cut into segments: something typed and all that follows until the next such line. What a turn did that
nobody typed (a compaction by hand, a turn whose opening is lost) is an execution too. A subagent's rollout has none:
its requests and tool calls name the agent and leave it to ingest to find the execution of the parent thread.

Where a segment starts, all that later lines need to know of earlier ones is in ``Memory``, which is small and can be
written as JSON; what it holds is never changed afterwards, only replaced. A line is decoded before anything changes,
so a line that cannot be used leaves no trace.
"""

from copy import copy
from datetime import datetime
from typing import Any

from pipelines.sources.lines import Item
from pipelines.sources.records import Execution, Kind, ModelRequest, ToolCall, stable_uuid

from . import outcomes, schema
from .execution import OpenExecution
from .memory import Memory, Segment
from .schema import Event, Line, ResponseItem, TurnContext
from .threads import Thread, thread_of, thread_of_turn, time_in, with_thread
from .usage import Counters, added, counters

_TOOLS_REMEMBERED = 64
_NOT_TYPED = frozenset({"environment_context", "user_instructions"})
_REQUEST_BEHIND_CONTEXT = "## My request for Codex:"
"""Editors put what is open in them before what was typed, and this line between the two."""
_ABORT_REASONS = frozenset({"interrupted", "replaced", "review_ended", "budget_limited"})
_CALLS = frozenset(
    {"function_call", "custom_tool_call", "local_shell_call", "tool_search_call", "image_generation_call"}
)
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output", "tool_search_output"})
_TOOL_EVENTS = frozenset({"exec_command_end", "patch_apply_end", "mcp_tool_call_end", "collab_agent_spawn_end"})


class Rollout:
    """The state machine; feed it the items of a file in their order."""

    def __init__(self, memory: Memory, *, offset: int, lines: int) -> None:
        self.memory = memory
        self.segment = Segment(offset, lines, copy(memory))
        self._tools = {call.tool_use_id: call for call in memory.tools}

    @property
    def cwd(self) -> str | None:
        """Working directory in which the session was started."""
        threads = self.memory.threads
        return threads[0].cwd if threads else None

    def add(self, item: Item) -> Segment | None:
        """Take one line in; returns the segment that it closed, if it opened a new one."""
        line: Line = item.value
        if line.type == "event_msg":
            return self._event(item, line)
        if line.type == "response_item":
            return self._response_item(item, line)
        if line.type == "turn_context":
            self._turn_context(schema.turn_context(line.payload))
        elif line.type == "session_meta":
            self._session_meta(schema.session_meta(line.payload))
        elif line.type == "compacted":
            return self._compacted(item, self._moment(line))
        elif line.type not in schema.PASSED_OVER:
            self.segment.unknown[(line.type or "(no type)")[:64]] += 1
        return None

    def _session_meta(self, meta: schema.SessionMeta) -> None:
        thread, memory = thread_of(meta), self.memory
        if thread is None:
            return
        memory.threads = with_thread(memory.threads, thread)
        if thread.id == memory.threads[0].id or memory.turn_id is None:
            memory.thread_id, memory.turn_id, memory.copied_at = thread.id, None, None
            memory.announces_end = False

    def _turn_context(self, context: TurnContext) -> None:
        memory, execution = self.memory, self.segment.execution
        if context.turn_id is not None and context.turn_id != memory.turn_id:
            self._enter_turn(context.turn_id, announces_end=False)
            if execution is not None and execution.end is None and not execution.was_answered:
                # Older clients name the turn only after what was typed.
                execution.turn_id = context.turn_id
        memory.cwd = context.cwd or memory.cwd
        memory.model = context.model or memory.model
        memory.effort = context.effort
        memory.permission_mode = context.permission_mode
        memory.service_tier = context.service_tier or memory.service_tier
        if (execution := self._execution()) is not None and not execution.was_answered:
            self._describe(execution.record)

    def _event(self, item: Item, line: Line) -> Segment | None:
        kind = schema.kind_of(line.payload).type
        if kind in schema.EVENTS_PASSED_OVER:
            return None
        if kind in _TOOL_EVENTS:
            self._tool_event(kind, schema.event(line.payload))
            return None
        if kind not in _EVENTS:
            self.segment.unknown[f"event_msg:{kind}"[:64]] += 1
            return None
        return _EVENTS[kind](self, item, schema.event(line.payload), self._moment(line))

    def _task_started(self, item: Item, event: Event, moment: datetime) -> None:
        self._enter_turn(event.turn_id, announces_end=True)

    def _user_message(self, item: Item, event: Event, moment: datetime) -> Segment | None:
        if event.kind in _NOT_TYPED or self._is_of_agent():
            return None
        text = event.message or ""
        _, marker, request = text.partition(_REQUEST_BEHIND_CONTEXT)
        return self._open(item, moment, "prompt", request.strip() if marker else text)

    def _entered_review(self, item: Item, event: Event, moment: datetime) -> Segment | None:
        if self._is_of_agent():
            return None
        return self._open(item, moment, "slash", f"/review {event.user_facing_hint or ''}".strip(), "/review")

    def _task_complete(self, item: Item, event: Event, moment: datetime) -> None:
        execution = self._execution(event.turn_id)
        if execution is not None:
            execution.end = "complete"
            execution.reached(moment)
        self._leave_turn(event.turn_id)

    def _turn_aborted(self, item: Item, event: Event, moment: datetime) -> None:
        execution = self._execution(event.turn_id)
        if execution is not None:
            execution.end = "aborted"
            execution.abort_reason = event.reason if event.reason in _ABORT_REASONS else "aborted"
            execution.reached(moment)
        self._leave_turn(event.turn_id)

    def _error(self, item: Item, event: Event, moment: datetime) -> None:
        if (execution := self._execution()) is not None:
            execution.error = event.message or "The client gave no text."
            execution.reached(moment)

    def _settings_applied(self, item: Item, event: Event, moment: datetime) -> None:
        if event.thread_settings is not None:
            self.memory.model = event.thread_settings.model or self.memory.model
            self.memory.service_tier = event.thread_settings.service_tier or self.memory.service_tier

    def _token_count(self, item: Item, event: Event, moment: datetime) -> Segment | None:
        if event.info is None:
            return None
        memory, info = self.memory, event.info
        is_alone = len(memory.threads) < 2 and not any(thread.is_forked for thread in memory.threads)
        used = added(info, memory.totals, from_zero=is_alone)
        closed = self._ensure_execution(item, moment) if used else None
        if info.total_token_usage is not None:
            totals = counters(info.total_token_usage)
            memory.restarts += memory.totals is not None and totals.since(memory.totals) is None
            memory.totals = totals
        if used:
            self._add_request(item, used, moment)
        return closed

    def _compacted(self, item: Item, moment: datetime) -> Segment | None:
        closed = self._ensure_execution(item, moment)
        execution = self._execution()
        if execution is not None:
            record = execution.record
            if record.kind == "orphan" and execution.turn_id is not None:
                record.kind, record.command, record.command_name = "slash", "/compact", "/compact"
            execution.answered(moment)
            _count(record, "compactions")
        return closed

    def _response_item(self, item: Item, line: Line) -> Segment | None:
        kind = schema.kind_of(line.payload).type or "(no type)"
        if kind in schema.ITEMS_PASSED_OVER:
            return None
        if kind in _CALLS or kind == "web_search_call":
            return self._call(item, kind, schema.response_item(line.payload), self._moment(line))
        if kind in _OUTPUTS:
            self._output(schema.response_item(line.payload), self._moment(line))
        elif kind == "message":
            self._message(schema.response_item(line.payload), self._moment(line))
        elif kind == "reasoning":
            moment = self._moment(line)
            if (execution := self._execution()) is not None:
                execution.answered(moment)
                _count(execution.record, "thinking_blocks")
        else:
            self.segment.unknown[f"response_item:{kind}"[:64]] += 1
        return None

    def _message(self, message: ResponseItem, moment: datetime) -> None:
        if message.role != "assistant":
            return
        characters = len(outcomes.text_of(message.content))
        if (execution := self._execution()) is not None:
            execution.answered(moment)
            _count(execution.record, "text_blocks")
            _count(execution.record, "text_characters", characters)

    def _call(self, item: Item, kind: str, call: ResponseItem, moment: datetime) -> Segment | None:
        call_id = call.call_id or call.id
        if call_id is not None and self._tool(call_id) is not None:
            return None
        closed = self._ensure_execution(item, moment)
        execution, thread = self._execution(), self._thread()
        if execution is not None:
            execution.answered(moment)
            _count(execution.record, "tool_use_blocks")
        self.memory.web_searches += kind == "web_search_call"
        if call_id is not None:
            name = call.name or kind.removesuffix("_call")
            self.segment.tools[call_id] = tool = ToolCall(
                tool_use_id=call_id,
                tool_name=f"{call.namespace.rstrip('_')}__{name}" if call.namespace else name,
                offset=item.offset,
                timestamp=moment,
                session_id=thread.session_id if thread else None,
                execution_id=execution.record.id if execution else None,
                agent_id=thread.agent_id if thread else None,
                # The provider runs searches and pictures itself: no output follows.
                status="ok" if kind in ("web_search_call", "image_generation_call") else "unanswered",
            )
            self.segment.unclaimed.append(tool)
        return closed

    def _output(self, output: ResponseItem, moment: datetime) -> None:
        outcome, agent_id = outcomes.of_output(output.output), outcomes.agent_in(output.output)
        call = self._tool(output.call_id)
        if call is not None and call.status == "unanswered":
            if outcome.duration_ms is None and call.timestamp is not None and self.memory.copied_at is None:
                call.duration_ms = max(round((moment - call.timestamp).total_seconds() * 1000), 0)
            outcome.settle(call)
            call.spawned_agent_id = call.spawned_agent_id or agent_id
        if (execution := self._execution()) is not None:
            execution.reached(moment)

    def _tool_event(self, kind: str, event: Event) -> None:
        outcome = outcomes.of_event(kind, event)
        call = self._tool(event.call_id)
        if call is None:
            return
        call.spawned_agent_id = event.new_thread_id or call.spawned_agent_id
        if outcome is not None:
            outcome.settle(call)

    def _add_request(self, item: Item, used: Counters, moment: datetime) -> None:
        memory, segment, execution, thread = self.memory, self.segment, self._execution(), self._thread()
        if execution is not None:
            scope = execution.turn_id or execution.record.id
            execution.answered(moment)
            _count(execution.record, "reasoning_tokens", used.reasoning)
        else:
            scope = memory.turn_id or memory.thread_id or ""
        # Counters only grow between restarts: their state names the response, in a copy of the turn as well.
        totals = memory.totals or used
        message_id = stable_uuid(
            f"codex:{scope}:{memory.restarts}:{totals.input}:{totals.cached}:{totals.cache_written}:{totals.output}"
        )
        for call in segment.unclaimed:
            call.message_id = message_id
        segment.unclaimed = []
        segment.requests[message_id] = ModelRequest(
            message_id=message_id,
            model=memory.model or "unknown",
            offset=item.offset,
            timestamp=moment,
            session_id=thread.session_id if thread else None,
            execution_id=execution.record.id if execution else None,
            agent_id=thread.agent_id if thread else None,
            service_tier=memory.service_tier,
            input_tokens=used.uncached,
            cache_creation_5m_tokens=used.cache_written,
            cache_read_tokens=used.cached,
            output_tokens=used.output,
            web_search_requests=memory.web_searches,
        )
        memory.web_searches = 0

    def _enter_turn(self, turn_id: str | None, *, announces_end: bool) -> None:
        memory = self.memory
        thread = thread_of_turn(turn_id, memory.threads)
        is_copied = thread is not None and thread.id != memory.threads[0].id
        memory.turn_id, memory.turn_executions, memory.announces_end = turn_id, 0, announces_end
        memory.thread_id = thread.id if thread else None
        memory.copied_at = time_in(turn_id) if is_copied else None

    def _leave_turn(self, turn_id: str | None) -> None:
        if turn_id is None or turn_id == self.memory.turn_id:
            self.memory.turn_id = None

    def _open(self, item: Item, moment: datetime, kind: Kind, command: str = "", name: str | None = None) -> Segment:
        memory, before = self.memory, self.segment.execution
        if memory.turn_id is not None and memory.announces_end and before is not None and before is self._execution():
            before.end = before.end or "steered"
        closed = self._close()
        start = copy(memory)
        thread = self._thread()
        memory.executions += 1
        memory.turn_executions += 1
        record = Execution(
            id=self._identity(command, kind),
            kind=kind,
            timestamp=moment,
            ended_at=moment,
            line=item.number,
            offset=item.offset,
            session_id=thread.session_id if thread else None,
            sequence=memory.executions,
            command=command,
            command_name=name,
            output={},
        )
        self._describe(record)
        execution = OpenExecution(record, turn_id=memory.turn_id, announces_end=memory.announces_end)
        self.segment = Segment(item.offset, item.number - 1, start, execution)
        return closed

    def _identity(self, command: str, kind: Kind) -> str:
        """The turn's id for the first of its executions; files that name no turns: thread, place and words."""
        memory = self.memory
        if memory.turn_id is None:
            return stable_uuid(f"codex:{memory.thread_id}:{memory.executions}:{kind}:{command}")
        number = memory.turn_executions
        return stable_uuid(memory.turn_id if number == 1 else f"codex:{memory.turn_id}:{number}")

    def _describe(self, record: Execution) -> None:
        memory, thread = self.memory, self._thread()
        record.workspace = _present(
            cwd=memory.cwd or (thread.cwd if thread else None),
            git_branch=thread.git_branch if thread else None,
            git_commit=thread.git_commit if thread else None,
        )
        record.session = _present(
            version=thread.version if thread else None,
            entrypoint=thread.entrypoint if thread else None,
            permission_mode=memory.permission_mode,
            effort=memory.effort,
        )

    def _close(self) -> Segment:
        """The segment so far, and what the next one needs of it in memory."""
        closed, memory = self.segment, self.memory
        tools = (self._tools | closed.tools).values()
        memory.tools = [call for call in tools if call.status == "unanswered"][-_TOOLS_REMEMBERED:]
        self._tools = {call.tool_use_id: call for call in memory.tools}
        return closed

    def _ensure_execution(self, item: Item, moment: datetime) -> Segment | None:
        """Open an execution for work that nothing typed stands before; returns the segment that this closed."""
        if self._is_of_agent() or self._execution() is not None:
            return None
        return self._open(item, moment, "orphan")

    def _execution(self, turn_id: str | None = None) -> OpenExecution | None:
        """The open execution, if it belongs to the turn: the one that runs unless another is named."""
        execution, turn_id = self.segment.execution, turn_id or self.memory.turn_id
        if execution is None or (turn_id is not None and execution.turn_id != turn_id):
            return None
        return None if self._is_of_agent() else execution

    def _thread(self) -> Thread | None:
        return next((thread for thread in self.memory.threads if thread.id == self.memory.thread_id), None)

    def _is_of_agent(self) -> bool:
        thread = self._thread()
        return thread is not None and thread.agent_id is not None

    def _moment(self, line: Line) -> datetime:
        moment = schema.moment_of(line)
        return self.memory.copied_at or moment

    def _tool(self, call_id: str | None) -> ToolCall | None:
        if call_id is None:
            return None
        call = self.segment.tools.get(call_id)
        if call is None and (remembered := self._tools.get(call_id)) is not None:
            call = self.segment.tools[call_id] = copy(remembered)
        return call


_EVENTS = {
    "task_started": Rollout._task_started,
    "turn_started": Rollout._task_started,
    "user_message": Rollout._user_message,
    "entered_review_mode": Rollout._entered_review,
    "token_count": Rollout._token_count,
    "task_complete": Rollout._task_complete,
    "turn_complete": Rollout._task_complete,
    "turn_aborted": Rollout._turn_aborted,
    "thread_settings_applied": Rollout._settings_applied,
    "error": Rollout._error,
}


def _count(record: Execution, name: str, amount: int = 1) -> None:
    record.output[name] = record.output.get(name, 0) + amount


def _present(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
