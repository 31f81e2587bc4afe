"""The lines of one conversation file, as the client writes them.

``Conversation`` knows the format and nothing of what a session does; ``session`` decides that. One API response
becomes one line a content block, all with the same message id, as in real files.
"""

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from pipelines.samples.texts import Block, encode
from pipelines.samples.truth import SampleTruth, Usage

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)


class Clock:
    """Moment in a session; lines ask it for time stamps."""

    def __init__(self, day: date, millisecond: int) -> None:
        self.milliseconds = (day - _EPOCH).days * _DAY_MS + millisecond
        self._day_number = -1
        self._day_text = ""

    @property
    def day(self) -> date:
        """UTC day."""
        return _EPOCH + timedelta(days=self.milliseconds // _DAY_MS)

    def stamp(self) -> str:
        """ISO 8601 with milliseconds, UTC."""
        day_number, rest = divmod(self.milliseconds, _DAY_MS)
        if day_number != self._day_number:
            self._day_number = day_number
            self._day_text = str(self.day)
        seconds, milliseconds = divmod(rest, 1000)
        return f"{self._day_text}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}Z"


class ContentBlock(NamedTuple):
    """One block of an answer as JSON; ``characters`` is what the model generated for it."""

    json: str
    characters: int


class ToolUse(NamedTuple):
    """A tool that the model asks for."""

    id: str
    name: str
    block: ContentBlock


@dataclass(frozen=True)
class Client:
    """What a client of one version writes on every line and leaves out."""

    version: str
    entrypoint: str = "cli"
    has_prompt_ids: bool = False
    """Opening lines name their prompt; older clients leave the line's uuid as only identity."""
    has_final_usage: bool = False
    """Every line of a response holds its final usage; older clients write output tokens as they grow."""
    has_progress_lines: bool = False
    has_subagent_files: bool = True
    """Subagents in files of their own; before that they stand inline as sidechains."""
    has_placeholder_output: bool = False
    """Subagents record the output tokens of the stream's start only."""


CURRENT = Client("2.1.197", has_prompt_ids=True, has_final_usage=True)
HEADLESS = Client("2.1.197", entrypoint="sdk-cli", has_prompt_ids=True, has_final_usage=True)
WINTER = Client("2.1.39", has_progress_lines=True, has_placeholder_output=True)
LEGACY = Client("1.0.108", has_subagent_files=False)


def new_uuid(rng: random.Random) -> str:
    """A random uuid in the form of version 4."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class Conversation:
    """Writes the lines of one thread of messages; two threads may share lines, clock and session."""

    def __init__(
        self,
        *,
        truth: SampleTruth,
        rng: random.Random,
        clock: Clock,
        client: Client,
        project: str,
        cwd: str,
        branch: str,
        session_id: str,
        lines: list[str],
        agent_id: str | None = None,
    ) -> None:
        self.truth, self.rng, self.clock, self.client = truth, rng, clock, client
        self.project, self.session_id, self.lines, self.agent_id = project, session_id, lines, agent_id
        self.cwd, self.branch = cwd, branch
        self.parent: str | None = None
        self.prompt_id: str | None = None
        self.context_tokens = 0
        """Prompt tokens that the next request finds in the cache."""
        self.is_sidechain = agent_id is not None
        agent = f'"agentId":"{agent_id}",' if agent_id and client.has_subagent_files else ""
        self._head = f'"isSidechain":{"true" if self.is_sidechain else "false"},{agent}"userType":"external",'
        self._tail = (
            f'"entrypoint":"{client.entrypoint}","cwd":"{encode(cwd)}","sessionId":"{session_id}",'
            f'"version":"{client.version}","gitBranch":"{branch}"}}'
        )

    def subagent(self, agent_id: str, lines: list[str]) -> "Conversation":
        """The thread of a subagent started from this one."""
        thread = Conversation(
            truth=self.truth, rng=self.rng, clock=self.clock, client=self.client, project=self.project,
            cwd=self.cwd, branch=self.branch, session_id=self.session_id, lines=lines, agent_id=agent_id,
        )  # fmt: skip
        thread.prompt_id = self.prompt_id
        return thread

    def open_prompt(self, content: str, *, mode: str = "default") -> str:
        """A line typed by the person; returns the identity of the execution that it opens."""
        if self.client.has_prompt_ids and not self.is_sidechain:
            self.prompt_id = new_uuid(self.rng)
        line_id = self.user(f'"{content}"', f'"permissionMode":"{mode}",')
        return self.prompt_id or line_id

    def user(self, content: str, extra: str = "") -> str:
        """A user line; ``content`` is JSON. Returns its uuid."""
        line_id = new_uuid(self.rng)
        prompt = f'"promptId":"{self.prompt_id}",' if self.prompt_id else ""
        self.lines.append(
            f'{{"parentUuid":{self._parent()},{self._head}{prompt}"type":"user","message":{{"role":"user",'
            f'"content":{content}}},{extra}"uuid":"{line_id}","timestamp":"{self.clock.stamp()}",{self._tail}'
        )
        self.parent = line_id
        return line_id

    def injected(self, text: str) -> None:
        """A user line that the client made, marked as such."""
        self.user(f'[{{"type":"text","text":"{text}"}}]', '"isMeta":true,')

    def system(self, subtype: str, fields: str) -> None:
        """A system line; ``fields`` is the inside of a JSON object."""
        self._linked(f'"type":"system","subtype":"{subtype}",{fields},"isMeta":false')

    def attachment(self, fields: str) -> None:
        """What the client adds to a prompt; ``fields`` is the inside of a JSON object."""
        self._linked(f'"attachment":{{{fields}}},"type":"attachment"')

    def progress(self, tool_use_id: str, data: str) -> None:
        """Sign of life of a running tool or hook; ``data`` is the inside of a JSON object."""
        self._linked(
            f'"type":"progress","data":{{{data}}},"toolUseID":"{tool_use_id}","parentToolUseID":"{tool_use_id}"'
        )

    def plain(self, fields: str) -> None:
        """A line outside the thread: no uuid, no parent."""
        self.lines.append(f'{{{fields},"sessionId":"{self.session_id}"}}')

    def respond(self, model: str, blocks: list[ContentBlock], *, lifetime: str = "5m", web_searches: int = 0) -> Usage:
        """One API response over as many lines as it has blocks; returns what it used.

        ``lifetime`` is that of its cache writes, 5m or 1h.
        """
        rng = self.rng
        message_id = f"msg_01{rng.getrandbits(110):022x}"
        request_id = f"req_011{rng.getrandbits(100):021x}"
        characters = sum(block.characters for block in blocks)
        output = characters // 4 + rng.randint(8, 40)
        if self.is_sidechain and self.client.has_placeholder_output:
            output = rng.randint(1, 3)
        written = rng.randint(14_000, 22_000) if self.context_tokens == 0 else rng.randint(150, 2_600)
        usage = Usage(
            requests=1,
            input_tokens=rng.randint(3, 48),
            cache_creation_5m_tokens=written if lifetime == "5m" else 0,
            cache_creation_1h_tokens=written if lifetime == "1h" else 0,
            cache_read_tokens=self.context_tokens,
            output_tokens=output,
            web_search_requests=web_searches,
        )
        self.context_tokens += written
        self.truth.record_usage(self.project, self.clock.day, model, usage)
        final = self.client.has_final_usage
        stop_reason = "tool_use" if blocks[-1].json.startswith('{"type":"tool_use"') else "end_turn"
        stop = f'"{stop_reason}"' if final else "null"
        for number, block in enumerate(blocks, 1):
            shown = output if final or number == len(blocks) else max(1, output * number // (2 * len(blocks)))
            line_id = new_uuid(rng)
            self.lines.append(
                f'{{"parentUuid":{self._parent()},{self._head}"message":{{"model":"{model}","id":"{message_id}",'
                f'"type":"message","role":"assistant","content":[{block.json}],"stop_reason":{stop},'
                f'"stop_sequence":null,"usage":{usage_json(usage, shown)}}},"requestId":"{request_id}",'
                f'"type":"assistant","uuid":"{line_id}","timestamp":"{self.clock.stamp()}",{self._tail}'
            )
            self.parent = line_id
            self.clock.milliseconds += rng.randint(3, 900)
        return usage

    def api_error(self, kind: str, status: int, text: str) -> None:
        """The client's own message when a request failed for good."""
        self.truth.synthetic_messages += 1
        self._linked(
            f'"type":"assistant","message":{{"id":"{new_uuid(self.rng)}","container":null,"model":"<synthetic>",'
            f'"role":"assistant","stop_reason":"stop_sequence","stop_sequence":"","type":"message",'
            f'"usage":{usage_json(Usage(), 0)},"content":[{{"type":"text","text":"{encode(text)}"}}]}},'
            f'"error":"{kind}","isApiErrorMessage":true,"apiErrorStatus":{status}'
        )

    def tool_result(self, tool: ToolUse, result: Block, *, status: str, structured: str) -> None:
        """The answer to a tool use; ``structured`` is the JSON the client keeps beside it."""
        error = ',"is_error":true' if status in ("error", "rejected") else ""
        self.user(
            f'[{{"tool_use_id":"{tool.id}","type":"tool_result","content":"{result.encoded}"{error}}}]',
            f'"toolUseResult":{structured},',
        )

    def _linked(self, fields: str) -> None:
        line_id = new_uuid(self.rng)
        self.lines.append(
            f'{{"parentUuid":{self._parent()},{self._head}{fields},"uuid":"{line_id}",'
            f'"timestamp":"{self.clock.stamp()}",{self._tail}'
        )
        self.parent = line_id

    def _parent(self) -> str:
        return f'"{self.parent}"' if self.parent else "null"


def usage_json(usage: Usage, output_tokens: int) -> str:
    """``message.usage`` with the output tokens known so far."""
    written = usage.cache_creation_5m_tokens + usage.cache_creation_1h_tokens
    return (
        f'{{"input_tokens":{usage.input_tokens},"cache_creation_input_tokens":{written},'
        f'"cache_read_input_tokens":{usage.cache_read_tokens},"output_tokens":{output_tokens},'
        f'"server_tool_use":{{"web_search_requests":{usage.web_search_requests},"web_fetch_requests":0}},'
        f'"service_tier":"standard","cache_creation":{{"ephemeral_5m_input_tokens":{usage.cache_creation_5m_tokens},'
        f'"ephemeral_1h_input_tokens":{usage.cache_creation_1h_tokens}}}}}'
    )
