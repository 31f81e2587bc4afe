"""Turns the lines of one transcript into executions, requests and tool calls.

A transcript is cut into segments: an opening line (something typed) and all that follows until the next one. What
came before the first opening line is a segment without an execution; so is the whole file of a subagent, whose
requests and tool calls name the agent and leave it to ingest to find the execution.

Where a segment starts, all that later lines need to know of earlier ones is in ``Memory``, which is small and can
be written as JSON; what it holds is never changed afterwards, only replaced. Reading a file in one go passes through
the same memory as reading it in parts, which is why both give the same records.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable
from copy import copy
from datetime import datetime
from typing import Any

import msgspec

from pipelines.sources.content import Block, blocks_of, describe, plain_text, settle
from pipelines.sources.lines import Item, in_utc
from pipelines.sources.records import Execution, Kind, ToolCall, stable_uuid
from pipelines.sources.responses import Key, Message, Response, Sighting, first_sight, key_of

from .execution import OpenExecution
from .schema import SILENT, Line, agent_id_in, moment_of, role_of, setting_of
from .typed_text import OPENING, Text, understand

_PROMPTS_REMEMBERED = 8
_RESPONSES_REMEMBERED = 4
_TOOLS_REMEMBERED = 64
_AGENT_TOOLS = frozenset({"Agent", "Task", "Skill"})
_INLINE_AGENT = "inline"


class Memory(msgspec.Struct, omit_defaults=True):
    """What is known where a segment starts."""

    cwd: str | None = None
    session_id: str | None = None
    executions: int = 0
    prompt_id: str | None = None
    prompt_ids: list[str] = []
    """Of the last executions: a later execution cannot take its identity from one of these."""
    after_caveat: bool = False
    """The client announced a local command."""
    responses: list[Response] = []
    """The last ones, whose next lines may follow."""
    tools: list[ToolCall] = []
    """Those still without a result."""


class Segment(msgspec.Struct):
    """Lines since the last opening line."""

    offset: int
    lines: int
    """Lines of the file before the segment."""
    memory: Memory
    """As it was before the first line of the segment."""
    execution: OpenExecution | None = None
    responses: dict[Key, Response] = {}
    tools: dict[str, ToolCall] = {}
    seen: set[str] = set()
    """Lines of the model by uuid: some writers repeat them."""
    unknown: Counter[str] = msgspec.field(default_factory=Counter)


class Transcript:
    """The state machine; feed it the items of a file in their order."""

    def __init__(self, memory: Memory, *, offset: int, lines: int) -> None:
        self.memory = memory
        self.has_begun = False
        """Session and working directory are known."""
        self.segment = Segment(offset, lines, copy(memory))
        self._responses = {_key(response): response for response in memory.responses}
        self._tools = {call.tool_use_id: call for call in memory.tools}

    def add(self, item: Item) -> Segment | None:
        """Take one line in; returns the segment that it closed, if it opened a new one."""
        line: Line = item.value
        if not self.has_begun:
            self._begin(item, line)
        role = role_of(line)
        if role == "assistant":
            return self._assistant(item, line)
        if role == "user":
            return self._user(item, line)
        if role == "system":
            return self._system(item, line)
        if role in SILENT:
            self.pass_over(line)
        else:
            self.segment.unknown[(role or "(no type)")[:64]] += 1
        return None

    def pass_over(self, line: Line) -> None:
        """Take in a line of a type that is ``SILENT``, once the transcript ``has_begun``."""
        if line.parent_tool_use_id is None:
            return
        call = self._tool(line.parent_tool_use_id)
        if call is not None and call.tool_name in _AGENT_TOOLS and call.spawned_agent_id is None:
            call.spawned_agent_id = agent_id_in(line.data)

    def _begin(self, item: Item, line: Line) -> None:
        memory = self.memory
        if memory.session_id is None:
            memory.session_id = line.session_id
        if memory.cwd is None:
            with contextlib.suppress(ValueError, RecursionError):
                memory.cwd = setting_of(item.line).cwd
        self.has_begun = memory.session_id is not None and memory.cwd is not None

    def _assistant(self, item: Item, line: Line) -> Segment | None:
        moment = moment_of(line)
        message = line.message or Message()
        blocks = blocks_of(message.content)
        closed, of_agent = None, _is_of_agent(line)
        if not of_agent and self.segment.execution is None:
            closed = self._open(item, line, moment, "orphan", Text("prompt"))
        segment = self.segment
        if line.uuid is not None:
            if line.uuid in segment.seen:
                return closed
            segment.seen.add(line.uuid)
        execution = None if of_agent else self._execution_at(line, moment)
        characters = describe(blocks, execution.record.output if execution else {})
        sighting = self._sighting(item, line, moment, execution, characters)
        self._fold(message, sighting)
        self._add_tools(blocks, message, sighting)
        if execution is not None:
            execution.reached(moment)
            if message.stop_reason is not None:
                execution.record.output["stop_reason"] = message.stop_reason
            if not line.is_sidechain:
                is_error = line.is_api_error_message is True
                execution.answered(api_error=plain_text(message.content) if is_error else None)
        return closed

    def _user(self, item: Item, line: Line) -> Segment | None:
        moment = moment_of(line)
        memory, execution = self.memory, self.segment.execution
        of_agent = _is_of_agent(line)
        if line.prompt_id is not None and of_agent:
            memory.prompt_id = stable_uuid(line.prompt_id)
        blocks = blocks_of(line.message.content) if line.message is not None else []
        results = [block for block in blocks if block.tool_use_id is not None]
        for result in results:
            self._settle(result, line, moment)
        if results and execution is not None and not of_agent:
            execution.reached(moment)
        if results or of_agent or line.is_sidechain or line.is_compact_summary or line.is_visible_in_transcript_only:
            return None
        text = _text_of(blocks)
        if line.is_meta or text.role == "caveat":
            memory.after_caveat = text.role == "caveat" or memory.after_caveat
            return None
        if text.role in OPENING and _was_typed(line):
            if execution is not None and line.uuid is not None and line.uuid == execution.opening_uuid:
                return None
            kind: Kind = "bash" if text.role == "bash" else "slash" if text.role == "slash" else "prompt"
            return self._open(item, line, moment, kind, text)
        self._continue(text, moment)
        return None

    def _system(self, item: Item, line: Line) -> Segment | None:
        if line.subtype != "local_command":
            return None
        text = _text_of(blocks_of(line.content))
        execution = self.segment.execution
        if text.role == "slash":
            if execution is not None and line.uuid is not None and line.uuid == execution.opening_uuid:
                return None
            return self._open(item, line, moment_of(line), "local", text)
        if line.timestamp is not None:
            self._continue(text, in_utc(line.timestamp))
        return None

    def _continue(self, text: Text, moment: datetime) -> None:
        execution = self.segment.execution
        if execution is None:
            return
        if text.role == "interruption":
            execution.was_interrupted = True
            execution.reached(moment)
        elif text.role in ("local_output", "local_error", "bash_output"):
            execution.answered_locally(text)
            execution.reached(moment)

    def _settle(self, result: Block, line: Line, moment: datetime) -> None:
        call = self._tool(result.tool_use_id) if result.tool_use_id is not None else None
        if call is None or call.status != "unanswered":
            return
        settle(call, result, at=moment)
        if call.tool_name in _AGENT_TOOLS:
            call.spawned_agent_id = agent_id_in(line.tool_use_result) or call.spawned_agent_id

    def _open(self, item: Item, line: Line, moment: datetime, kind: Kind, text: Text) -> Segment:
        setting = setting_of(item.line)
        closed, memory = self._close(), self.memory
        before = copy(memory)
        memory.executions += 1
        session_id = line.session_id or memory.session_id
        record = Execution(
            id=self._identity(line, kind, session_id, moment, item.number),
            kind=kind,
            timestamp=moment,
            ended_at=moment,
            line=item.number,
            offset=item.offset,
            session_id=session_id,
            sequence=memory.executions,
            command=text.command,
            command_name=text.name,
            workspace=_present(cwd=setting.cwd, git_branch=setting.git_branch),
            session=_present(
                version=setting.version, entrypoint=setting.entrypoint, permission_mode=setting.permission_mode
            ),
            output={},
        )
        memory.prompt_id = stable_uuid(line.prompt_id) if line.prompt_id and kind != "bash" else None
        self.segment = Segment(
            item.offset,
            item.number - 1,
            before,
            OpenExecution(
                record,
                opening_uuid=line.uuid,
                is_local=memory.after_caveat or kind == "local",
            ),
        )
        memory.after_caveat = False
        return closed

    def _identity(self, line: Line, kind: Kind, session_id: str | None, moment: datetime, number: int) -> str:
        """``promptId`` unless it is that of an earlier execution, which bash mode always repeats; else the uuid."""
        if kind == "orphan":
            return stable_uuid(f"orphan:{session_id or line.uuid or moment.isoformat()}")
        taken = self.memory.prompt_ids
        if kind != "bash" and line.prompt_id and line.prompt_id not in taken:
            self.memory.prompt_ids = [*taken, line.prompt_id][-_PROMPTS_REMEMBERED:]
            return stable_uuid(line.prompt_id)
        return stable_uuid(line.uuid or f"{session_id}:{moment.isoformat()}:{number}")

    def _close(self) -> Segment:
        """The segment so far, and what the next one needs of it in memory."""
        closed, memory = self.segment, self.memory
        responses = [item for key, item in self._responses.items() if key not in closed.responses]
        memory.responses = [*responses, *closed.responses.values()][-_RESPONSES_REMEMBERED:]
        tools = (self._tools | closed.tools).values()
        memory.tools = [call for call in tools if call.status == "unanswered"][-_TOOLS_REMEMBERED:]
        self._responses = {_key(response): response for response in memory.responses}
        self._tools = {call.tool_use_id: call for call in memory.tools}
        return closed

    def _execution_at(self, line: Line, moment: datetime) -> OpenExecution | None:
        """The execution that a line of the main conversation belongs to; None for a late copy of an answer."""
        execution = self.segment.execution
        if execution is not None and moment < execution.record.timestamp and line.message is not None:
            known = {response.request.message_id for response in self.memory.responses}
            if line.message.id is not None and line.message.id in known:
                return None
        return execution

    def _sighting(
        self, item: Item, line: Line, moment: datetime, execution: OpenExecution | None, characters: int
    ) -> Sighting:
        agent_id = None
        if line.is_sidechain:
            agent_id = _INLINE_AGENT if line.agent_id is None else line.agent_id
        return Sighting(
            offset=item.offset,
            line_id=line.uuid or f"{line.session_id}:{moment.isoformat()}",
            request_id=line.request_id,
            timestamp=moment,
            session_id=line.session_id or self.memory.session_id,
            execution_id=execution.record.id if execution else None,
            prompt_id=self.memory.prompt_id,
            agent_id=agent_id,
            cost_usd=line.cost_usd,
            characters=characters,
        )

    def _fold(self, message: Message, sighting: Sighting) -> None:
        key, segment = key_of(message, sighting), self.segment
        response = segment.responses.get(key)
        if response is not None:
            response.add(message, sighting)
        elif (remembered := self._responses.get(key)) is not None:
            segment.responses[key] = response = Response(
                copy(remembered.request), remembered.characters, remembered.has_stopped
            )
            response.add(message, sighting)
        else:
            segment.responses[key] = first_sight(message, sighting)

    def _add_tools(self, blocks: Iterable[Block], message: Message, seen: Sighting) -> None:
        for block in blocks:
            if block.type != "tool_use" or not block.id or self._tool(block.id) is not None:
                continue
            self.segment.tools[block.id] = ToolCall(
                tool_use_id=block.id,
                tool_name=block.name or "unknown",
                offset=seen.offset,
                timestamp=seen.timestamp,
                session_id=seen.session_id,
                execution_id=seen.execution_id,
                prompt_id=seen.prompt_id,
                message_id=message.id,
                agent_id=seen.agent_id,
            )

    def _tool(self, tool_use_id: str) -> ToolCall | None:
        call = self.segment.tools.get(tool_use_id)
        if call is None and (remembered := self._tools.get(tool_use_id)) is not None:
            call = self.segment.tools[tool_use_id] = copy(remembered)
        return call


def _key(response: Response) -> Key:
    return response.request.message_id, response.request.request_id


def _is_of_agent(line: Line) -> bool:
    """A subagent with a log of its own wrote the line; older clients wrote it inline and without an agent id."""
    return line.agent_id is not None and line.is_sidechain is True


def _was_typed(line: Line) -> bool:
    return bytes(memoryview(line.tool_use_result)) in (b"", b"null") and line.source_tool_assistant_uuid is None


def _text_of(blocks: list[Block]) -> Text:
    if not blocks:
        return Text("nothing")
    texts = [block.text for block in blocks if block.text]
    if not texts and any(block.type == "image" for block in blocks):
        return Text("prompt")
    return understand("\n".join(texts))


def _present(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
