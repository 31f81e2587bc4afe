"""What happens in a session: which commands are given, what the model does with them and how they end.

A session opens executions one after another. Each is recorded in the truth with the status that its evidence in the
log means: an answer completes it, the client's own error message fails it, an interruption by the person cancels
it, and a prompt or a tool use that nothing follows leaves it pending.
"""

import random
from typing import Literal

from pipelines.samples.conversation import Clock, ContentBlock, Conversation, ToolUse, new_uuid, usage_json
from pipelines.samples.texts import (
    API_ERRORS,
    BASH_COMMANDS,
    FILES,
    HEADLESS_COMMAND,
    LOCAL_COMMANDS,
    PROMPTS,
    SLASH_COMMANDS,
    TOOL_ERRORS,
    Block,
    Library,
    SlashCommand,
    Texture,
    encode,
    fill,
)
from pipelines.samples.truth import ExecutionKey, SampleTruth, ToolKey, Usage

Outcome = Literal["completed", "api_error", "interrupted", "rejected", "unanswered_prompt", "unanswered_tool"]
Opening = Literal["prompt", "slash", "bash", "local"]

_STATUS = {
    "completed": "completed",
    "api_error": "failed",
    "interrupted": "cancelled",
    "rejected": "cancelled",
    "unanswered_prompt": "pending",
    "unanswered_tool": "pending",
}
_REFUSAL = "The user doesn't want to proceed with this tool use. Wait for instructions."
_CAVEAT = (
    "<local-command-caveat>Caveat: what follows was printed by commands that the person ran.</local-command-caveat>"
)
_COMPACT_ABOVE_TOKENS = 140_000


class Session:
    """One session of one person in one project."""

    def __init__(
        self,
        conversation: Conversation,
        *,
        library: Library,
        texture: Texture,
        models: tuple[str, str],
        lifetime: str,
    ) -> None:
        self.main = conversation
        self.library, self.texture = library, texture
        self.model, self.subagent_model = models
        self.lifetime = lifetime
        self.subagent_files: dict[str, list[str]] = {}
        """Lines by file name."""
        self.usage = Usage()
        """All responses of the session, subagents included."""
        self._execution_start = 0
        """Where the lines of the last execution begin."""

    @property
    def rng(self) -> random.Random:
        """Source of every choice."""
        return self.main.rng

    @property
    def truth(self) -> SampleTruth:
        """Where decisions are recorded."""
        return self.main.truth

    @property
    def clock(self) -> Clock:
        """Moment in the session."""
        return self.main.clock

    def start(self) -> None:
        """Lines that precede the first prompt."""
        if self.main.client.has_progress_lines:
            self.main.progress(
                new_uuid(self.rng),
                '"type":"hook_progress","hookEvent":"SessionStart","hookName":"SessionStart:startup",'
                '"command":"~/.claude/hooks/session-start.sh"',
            )
        elif self.main.client.has_prompt_ids:
            self.main.plain('"type":"mode","mode":"normal"')

    def execute(
        self, opening: Opening, outcome: Outcome, *, with_subagent: bool = False, secret: str | None = None
    ) -> None:
        """One execution from its opening line to its end."""
        self._wait(20_000, 900_000)
        self._execution_start = len(self.main.lines)
        if opening == "bash":
            self._bash_mode(secret)
        elif opening == "local":
            self._local_command()
        else:
            first_day = self.clock.day
            place = self.rng.choice(("command", "tool_error")) if secret and outcome == "completed" else "command"
            command = self._choose_command() if opening == "slash" else None
            self._open(command, secret if place == "command" else None)
            effort = command.effort if command else 1.0
            self._work(outcome, effort, with_subagent, secret if place == "tool_error" else None)
            key = ExecutionKey(self.main.project, first_day, opening, _STATUS[outcome])
            self.truth.executions[key] += 1
        if self.main.context_tokens > _COMPACT_ABOVE_TOKENS:
            self._compact()

    def repeat_last_response_line(self) -> None:
        """Writes the newest assistant line of the last execution twice, as some clients do."""
        for number in range(len(self.main.lines) - 1, self._execution_start - 1, -1):
            line = self.main.lines[number]
            if '"type":"assistant"' in line:
                self.main.lines.insert(number, line)
                return

    def tear_a_line(self) -> None:
        """A line cut in the middle with the next one right after it, as a crash leaves them."""
        self.main.lines.append(f'{{"type":"attachment","attachment":{{"type":"note","content":"{PROMPTS[0]}')
        self.truth.broken_lines += 1

    def beacon(self) -> None:
        """A line of a type that no client writes."""
        self.main.plain(f'"type":"workspace-beacon","beat":{self.rng.randint(1, 99)}')
        self.truth.unknown_lines["workspace-beacon"] += 1

    def _choose_command(self) -> SlashCommand:
        if self.main.client.entrypoint == "sdk-cli":
            return HEADLESS_COMMAND
        return self.rng.choices(SLASH_COMMANDS, [command.weight for command in SLASH_COMMANDS])[0]

    def _open(self, command: SlashCommand | None, secret: str | None) -> None:
        """The line that the person typed: a command, or free text when there is none."""
        if self.main.client.entrypoint == "sdk-cli":
            self._queue("enqueue")
            self._queue("dequeue")
        if command is None:
            prompt = fill(self.rng.choice(PROMPTS), self.rng)
            if secret:
                prompt += f" Use {secret} for the test database."
            self.main.open_prompt(encode(prompt))
        else:
            self._open_slash(command, secret)
        if self.main.client.has_prompt_ids:
            self.main.attachment('"type":"skill_listing","content":"- deploy\\n- review"')
        if self.main.client.has_progress_lines:
            snapshot = f'"messageId":"{self.main.parent}","trackedFileBackups":{{}}'
            self.main.lines.append(
                f'{{"type":"file-history-snapshot","messageId":"{self.main.parent}",'
                f'"snapshot":{{{snapshot},"timestamp":"{self.clock.stamp()}"}},"isSnapshotUpdate":false}}'
            )

    def _open_slash(self, command: SlashCommand, secret: str | None) -> None:
        arguments = self.rng.choice(command.arguments)
        if secret:
            arguments += f" --api-key={secret}"
        self.truth.commands[self.main.project, f"/{command.name}"] += 1
        given = f"\\n<command-args>{encode(arguments)}</command-args>" if arguments else ""
        self.main.open_prompt(
            f"<command-message>{command.name}</command-message>\\n<command-name>/{command.name}</command-name>{given}"
        )
        self.main.injected(self.rng.choice(self.library.expanded_commands).encoded)

    def _bash_mode(self, secret: str | None) -> None:
        rng = self.rng
        fails = rng.random() < 0.2
        command = f"DATABASE_URL={secret} make migrate" if secret else rng.choice(BASH_COMMANDS)
        if not self.main.client.has_prompt_ids:
            self.main.user(f'"{_CAVEAT}"', '"isMeta":true,')
        first_day = self.clock.day
        self.main.open_prompt(f"<bash-input>{encode(command)}</bash-input>")
        self._wait(200, 9_000)
        out = "" if fails else rng.choice(self.library.edits).encoded
        problem = f"make: *** [{encode(command.split()[-1])}] Error 2" if fails else ""
        self.main.user(f'"<bash-stdout>{out}</bash-stdout><bash-stderr>{problem}</bash-stderr>"')
        key = ExecutionKey(self.main.project, first_day, "bash", "failed" if fails else "completed")
        self.truth.executions[key] += 1
        self.truth.commands[self.main.project, "!bash"] += 1

    def _local_command(self) -> None:
        name = self.rng.choice(LOCAL_COMMANDS)
        key = ExecutionKey(self.main.project, self.clock.day, "local", "completed")
        self.main.system(
            "local_command",
            f'"content":"<command-name>{name}</command-name>\\n            '
            f'<command-message>{name[1:]}</command-message>\\n            <command-args></command-args>",'
            '"level":"info"',
        )
        self.main.system(
            "local_command", '"content":"<local-command-stdout>Done</local-command-stdout>","level":"info"'
        )
        self.truth.executions[key] += 1
        self.truth.commands[self.main.project, name] += 1

    def _work(self, outcome: Outcome, effort: float, with_subagent: bool, secret: str | None) -> None:
        if outcome == "unanswered_prompt":
            return
        turns = int(effort * self.texture.requests_per_execution * self.rng.random() ** 2)
        for turn in range(turns):
            self._turn(self.main, self.model, secret if turn == 0 else None)
        if secret and turns == 0:
            self._turn(self.main, self.model, secret)
        if with_subagent:
            self._delegate()
        if outcome == "completed":
            self._answer(self.main, self.model)
            if self.main.client.has_progress_lines:
                self.main.system("turn_duration", f'"durationMs":{self.rng.randint(4_000, 400_000)}')
        elif outcome == "api_error":
            self._wait(1_000, 60_000)
            self.main.api_error(*self.rng.choice(API_ERRORS))
        elif outcome == "interrupted":
            self._answer(self.main, self.model)
            self.main.user('[{"type":"text","text":"[Request interrupted by user]"}]')
        elif outcome == "rejected":
            tool = self._ask_for_tools(self.main, self.model, count=1)[0]
            self._wait(1_000, 40_000)
            refusal = Block(encode(_REFUSAL), len(_REFUSAL))
            self.main.tool_result(tool, refusal, status="rejected", structured='"User rejected tool use"')
            self._count_tool(tool.name, "rejected")
            self.main.user('[{"type":"text","text":"[Request interrupted by user for tool use]"}]')
        else:
            tool = self._ask_for_tools(self.main, self.model, count=1)[0]
            self._count_tool(tool.name, "unanswered")

    def _turn(self, thread: Conversation, model: str, secret: str | None = None) -> None:
        """The model asks for tools and gets their results."""
        for tool in self._ask_for_tools(thread, model, count=2 if self.rng.random() < 0.25 else 1):
            self._report_progress(thread, tool)
            self._wait(80, 15_000)
            if secret or self.rng.random() < 0.06:
                message = f"Exit code 1: could not sign in with {secret}" if secret else self.rng.choice(TOOL_ERRORS)
                result = Block(encode(message), len(message))
                thread.tool_result(tool, result, status="error", structured=f'"Error: {result.encoded}"')
                self._count_tool(tool.name, "error")
                secret = None
            else:
                result = self.rng.choice(self.library.tool_results)
                structured = f'{{"stdout":"{result.encoded}","stderr":"","interrupted":false,"isImage":false}}'
                thread.tool_result(tool, result, status="ok", structured=structured)
                self._count_tool(tool.name, "ok")

    def _ask_for_tools(self, thread: Conversation, model: str, *, count: int) -> list[ToolUse]:
        rng = self.rng
        tools = [self._tool_use() for _ in range(count)]
        blocks = [tool.block for tool in tools]
        if rng.random() < 0.35:
            blocks.insert(0, _text_block("text", rng.choice(self.library.answers)))
        if rng.random() < 0.15:
            blocks.insert(0, _text_block("thinking", rng.choice(self.library.thoughts)))
        searches = rng.randint(1, 3) if rng.random() < 0.01 else 0
        self._respond(thread, model, blocks, searches)
        return tools

    def _answer(self, thread: Conversation, model: str) -> None:
        self._respond(thread, model, [_text_block("text", self.rng.choice(self.library.answers))], 0)

    def _respond(self, thread: Conversation, model: str, blocks: list[ContentBlock], web_searches: int) -> None:
        self._wait(1_500, 25_000)
        lifetime = self.lifetime if thread is self.main else "5m"
        self.usage.add(thread.respond(model, blocks, lifetime=lifetime, web_searches=web_searches))

    def _tool_use(self) -> ToolUse:
        rng = self.rng
        name = rng.choices(("Bash", "Read", "Edit", "Grep", "Write", "mcp__tracker__search"), (34, 28, 18, 12, 5, 3))[0]
        path = rng.choice(FILES)
        if name == "Bash":
            arguments, length = f'"command":"{rng.choice(BASH_COMMANDS)}","description":"Check the state"', 60
        elif name == "Edit":
            edit = rng.choice(self.library.edits)
            arguments = f'"file_path":"{path}","old_string":"{edit.encoded}","new_string":"{edit.encoded}"'
            length = 2 * edit.characters
        elif name == "Write":
            edit = rng.choice(self.library.edits)
            arguments, length = f'"file_path":"{path}","content":"{edit.encoded}"', edit.characters
        else:
            arguments, length = f'"path":"{path}"', 30
        return _tool_use(rng, name, arguments, length)

    def _delegate(self) -> None:
        """A subagent does part of the work, in a file of its own where the client makes one."""
        rng, main = self.rng, self.main
        request = fill(rng.choice(PROMPTS), rng)
        name = "Agent" if main.client.has_final_usage else "Task"
        arguments = f'"description":"Look around","prompt":"{encode(request)}","subagent_type":"general-purpose"'
        tool = _tool_use(rng, name, arguments, len(request) + 60)
        self._respond(main, self.model, [tool.block], 0)
        agent_id = f"a{rng.getrandbits(64):016x}"
        inline = not main.client.has_subagent_files
        lines = main.lines if inline else self.subagent_files.setdefault(f"agent-{agent_id}.jsonl", [])
        agent = main.subagent(agent_id, lines)
        agent.user(f'"{encode(request)}"')
        started = self.clock.milliseconds
        for _ in range(1 + int(self.texture.requests_per_execution * rng.random() ** 2)):
            self._turn(agent, self.subagent_model)
        self._answer(agent, self.subagent_model)
        if main.client.has_progress_lines:
            main.progress(tool.id, f'"type":"agent_progress","agentId":"{agent_id}","message":{lines[-1]}')
        answer = rng.choice(self.library.answers)
        last_call = usage_json(Usage(input_tokens=9, cache_read_tokens=agent.context_tokens), 200)
        main.tool_result(
            tool,
            answer,
            status="ok",
            structured=(
                f'{{"status":"completed","prompt":"{encode(request)}","agentId":"{agent_id}",'
                f'"content":[{{"type":"text","text":"{answer.encoded}"}}],'
                f'"totalDurationMs":{self.clock.milliseconds - started},"totalTokens":{agent.context_tokens},'
                f'"totalToolUseCount":1,"usage":{last_call}}}'
            ),
        )
        self._count_tool(name, "ok")

    def _report_progress(self, thread: Conversation, tool: ToolUse) -> None:
        for second in range(self.texture.progress_lines_per_tool):
            if second % 3 == 0:
                output = self.rng.choice(self.library.edits).encoded
                thread.progress(
                    tool.id, f'"type":"bash_progress","output":"{output}","fullOutput":"{output}",'
                    f'"elapsedTimeSeconds":{second + 2},"totalLines":{second * 3}'
                )  # fmt: skip
            else:
                thread.progress(
                    tool.id,
                    f'"type":"hook_progress","hookEvent":"PreToolUse","hookName":"PreToolUse:{tool.name}",'
                    f'"command":"~/.claude/hooks/check.sh"',
                )

    def _compact(self) -> None:
        """The client replaces the conversation by a summary; the cache starts anew."""
        before, self.main.context_tokens = self.main.context_tokens, 0
        self.main.system(
            "compact_boundary",
            f'"content":"Conversation compacted","compactMetadata":{{"trigger":"auto","preTokens":{before}}}',
        )
        summary = self.rng.choice(self.library.expanded_commands).encoded
        self.main.user(f'"{summary}"', '"isCompactSummary":true,"isVisibleInTranscriptOnly":true,')

    def _queue(self, operation: str) -> None:
        self.main.plain(f'"type":"queue-operation","operation":"{operation}","timestamp":"{self.clock.stamp()}"')

    def _count_tool(self, name: str, status: str) -> None:
        self.truth.tool_calls[ToolKey(self.main.project, name, status)] += 1

    def _wait(self, shortest_ms: int, longest_ms: int) -> None:
        self.clock.milliseconds += self.rng.randint(shortest_ms, longest_ms)


def _text_block(kind: Literal["text", "thinking"], block: Block) -> ContentBlock:
    return ContentBlock(f'{{"type":"{kind}","{kind}":"{block.encoded}"}}', block.characters)


def _tool_use(rng: random.Random, name: str, arguments: str, characters: int) -> ToolUse:
    tool_use_id = f"toolu_01{rng.getrandbits(110):022x}"
    block = f'{{"type":"tool_use","id":"{tool_use_id}","name":"{name}","input":{{{arguments}}}}}'
    return ToolUse(tool_use_id, name, ContentBlock(block, characters))
