"""Writes small Codex rollouts line by line; no test data of anybody else."""

import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def uuid7(moment: datetime, number: int = 1) -> str:
    """Id made at ``moment``, as Codex makes them."""
    milliseconds = round(moment.timestamp() * 1000)
    return str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | number))


def usage(input: int = 0, cached: int = 0, output: int = 0, reasoning: int = 0, **more: int) -> dict[str, int]:
    """Counters as the client writes them."""
    return {
        "input_tokens": input, "cached_input_tokens": cached, "output_tokens": output,
        "reasoning_output_tokens": reasoning, "total_tokens": input + output, **more,
    }  # fmt: skip


class Rollout:
    """A rollout in the making: each call adds a line, one second after the one before."""

    def __init__(self, *, start: datetime = START, thread: int = 1, cwd: str = "/work/shop", **meta: Any) -> None:
        self.start, self.cwd = start, cwd
        self.thread = uuid7(start, thread)
        self.lines: list[str] = []
        self.totals = usage()
        self._seconds = itertools.count()
        self._turns = itertools.count(1)
        self.now = start
        self.turn_id: str | None = None
        known = {
            "id": self.thread, "cwd": cwd, "originator": "codex_cli_rs", "cli_version": "0.122.0", "source": "cli",
            "git": {"branch": "main", "commit_hash": "c0ffee"},
        }  # fmt: skip
        self.add("session_meta", **known | meta)

    def add(self, line_type: str, /, **payload: Any) -> "Rollout":
        """A line of any type."""
        self.now = self.start + timedelta(seconds=next(self._seconds))
        timestamp = self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.lines.append(json.dumps({"timestamp": timestamp, "type": line_type, "payload": payload}))
        return self

    def event(self, kind: str, /, **fields: Any) -> "Rollout":
        return self.add("event_msg", type=kind, **fields)

    def item(self, kind: str, /, **fields: Any) -> "Rollout":
        return self.add("response_item", type=kind, **fields)

    def begin(self, model: str = "gpt-5.4") -> "Rollout":
        """A turn starts."""
        self.turn_id = uuid7(self.now + timedelta(seconds=1), 1000 + next(self._turns))
        self.event("task_started", turn_id=self.turn_id)
        return self.context(model)

    def context(self, model: str = "gpt-5.4", **fields: Any) -> "Rollout":
        return self.add(
            "turn_context", **{"turn_id": self.turn_id, "cwd": self.cwd, "model": model, "effort": "high",
                               "approval_policy": "never"} | fields,
        )  # fmt: skip

    def user(self, text: str, **fields: Any) -> "Rollout":
        return self.event("user_message", message=text, images=[], **fields)

    def prompt(self, text: str, model: str = "gpt-5.4") -> "Rollout":
        """A turn starts with something typed."""
        return self.begin(model).user(text)

    def says(self, text: str) -> "Rollout":
        return self.item("message", role="assistant", content=[{"type": "output_text", "text": text}])

    def call(self, call_id: str, name: str = "exec_command", **fields: Any) -> "Rollout":
        return self.item("function_call", call_id=call_id, name=name, arguments="{}", **fields)

    def output(self, call_id: str, output: Any = "Process exited with code 0\nOutput:\nfine") -> "Rollout":
        return self.item("function_call_output", call_id=call_id, output=output)

    def tokens(self, input: int = 100, cached: int = 60, output: int = 10, reasoning: int = 4) -> "Rollout":
        """A response was counted."""
        last = usage(input, cached, output, reasoning)
        self.totals = {name: self.totals[name] + last[name] for name in last}
        return self.count(self.totals, last)

    def count(self, total: dict[str, int] | None, last: dict[str, int] | None) -> "Rollout":
        """Counters exactly as given."""
        return self.event("token_count", info={"total_token_usage": total, "last_token_usage": last})

    def end(self) -> "Rollout":
        self.event("task_complete", turn_id=self.turn_id, last_agent_message="done")
        self.turn_id = None
        return self

    def abort(self, reason: str = "interrupted") -> "Rollout":
        self.event("turn_aborted", turn_id=self.turn_id, reason=reason)
        self.turn_id = None
        return self

    def forked(self, *, after: timedelta = timedelta(days=1), thread: int = 2, **meta: Any) -> "Rollout":
        """A fork of this rollout as it stands: its own first line, then a copy with the clocks of the copying."""
        fork = Rollout(start=self.start + after, thread=thread, cwd=self.cwd, forked_from_id=self.thread, **meta)
        for line in self.lines:
            if line.startswith('{"timestamp"'):
                value = json.loads(line)
                fork.add(value["type"], **value["payload"])
            else:
                fork.lines.append(line)
        fork.totals = dict(self.totals)
        return fork

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(self))
        return path

    def __bytes__(self) -> bytes:
        return "".join(line + "\n" for line in self.lines).encode()
