"""Writes a folder of sample logs, day by day and session by session, with constant memory.

The same arguments give the same bytes. Every size holds every kind of session in the same proportions: kinds are
drawn from a shuffled deck, so even a small sample has forks, subagents and headless runs in it.

    FOLDER/projects/<working directory with dashes>/<session>.jsonl
    FOLDER/projects/<working directory with dashes>/<session>/subagents/agent-<id>.jsonl
    FOLDER/runs/<session>.jsonl                      output of headless runs whose transcripts are also there
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

from pipelines.samples import headless
from pipelines.samples.conversation import CURRENT, HEADLESS, LEGACY, WINTER, Client, Clock, Conversation, new_uuid
from pipelines.samples.session import Opening, Outcome, Session
from pipelines.samples.texts import COMPACT, Library, Texture, fake_secrets
from pipelines.samples.truth import SampleTruth

DEFAULT_BYTES = 15_000_000
LAST_DAY = date(2026, 10, 31)
PROJECT_NAMES = ("storefront", "ledger-api", "mobile-app")
UNKNOWN_MODEL = "harbor-coder-32b"

_HOUR_MS = 3_600_000
Card = TypeVar("Card")
_MODELS = (("claude-opus-5-5", "claude-sonnet-5-5"), ("claude-sonnet-5-5", "claude-haiku-4-5-20251001"))


@dataclass(frozen=True)
class Flavour:
    """A kind of session."""

    client: Client = CURRENT
    models: tuple[tuple[str, str], ...] = _MODELS
    """Pairs to choose from: main conversation, subagents."""
    has_subagents: bool = False
    is_forked: bool = False
    is_resumed: bool = False
    is_headless: bool = False
    has_secret: bool = False
    is_torn: bool = False
    last_outcome: Outcome = "completed"


_FLAVOURS = (
    *[Flavour()] * 6,
    *[Flavour(has_subagents=True)] * 3,
    *[Flavour(is_forked=True)] * 2,
    *[Flavour(is_resumed=True)] * 2,
    Flavour(has_secret=True),
    Flavour(last_outcome="unanswered_prompt"),
    Flavour(last_outcome="unanswered_tool"),
    *[Flavour(HEADLESS, ((headless.MODEL, headless.MODEL),), is_headless=True)] * 2,
    Flavour(HEADLESS, ((headless.MODEL, headless.MODEL),), is_headless=True, last_outcome="unanswered_tool"),
    Flavour(WINTER, (("claude-opus-4-6", "claude-haiku-4-5-20251001"),), has_subagents=True),
    Flavour(WINTER, (("claude-opus-4-6", "claude-haiku-4-5-20251001"),), is_torn=True),
    Flavour(WINTER, (("claude-sonnet-4-5-20250929", "claude-sonnet-4-5-20250929"),)),
    Flavour(LEGACY, (("claude-sonnet-4-20250514", "claude-3-5-haiku-20241022"),), has_subagents=True),
    Flavour(models=((UNKNOWN_MODEL, UNKNOWN_MODEL),)),
)
_OUTCOMES: tuple[Outcome, ...] = ("completed",) * 26 + ("api_error", "interrupted", "rejected", "api_error")
_OPENINGS: tuple[Opening, ...] = ("prompt",) * 9 + ("slash",) * 9 + ("bash", "local")


def generate(
    folder: Path,
    *,
    seed: int = 2026,
    days: int = 60,
    last_day: date = LAST_DAY,
    projects: int = 3,
    size_bytes: int = DEFAULT_BYTES,
    texture: Texture = COMPACT,
) -> SampleTruth:
    """Writes about ``size_bytes`` of logs that end on ``last_day`` and returns what they hold.

    The size is met within one session. Files of an earlier run in the same folder are overwritten, never removed.
    """
    rng = random.Random(seed)  # noqa: S311  # the same seed must give the same bytes
    names = tuple(PROJECT_NAMES[n] if n < len(PROJECT_NAMES) else f"service-{n + 1:02d}" for n in range(projects))
    days_of_work = [last_day - timedelta(days=back) for back in reversed(range(days))]
    truth = SampleTruth(folder, names, days_of_work[0], last_day, secrets=fake_secrets(rng))
    factory = _SessionFactory(rng, truth, Library(rng, texture), texture)
    weights = [_weight(day, number, days) for number, day in enumerate(days_of_work)]
    due = 0.0
    for day, weight in zip(days_of_work, weights, strict=True):
        due += size_bytes * weight / sum(weights)
        while truth.bytes < due:
            factory.write_session(day)
    return truth


def _weight(day: date, number: int, days: int) -> float:
    """Little on weekends, slowly more over time."""
    return (0.25 if day.weekday() >= 5 else 1.0) * (0.7 + 0.6 * number / days)


class _SessionFactory:
    """Makes one session after another and writes its files."""

    def __init__(self, rng: random.Random, truth: SampleTruth, library: Library, texture: Texture) -> None:
        self.rng, self.truth, self.library, self.texture = rng, truth, library, texture
        self.flavours = _deck(rng, _FLAVOURS)
        self.outcomes = _deck(rng, _OUTCOMES)
        self.openings = _deck(rng, _OPENINGS)
        self.latest_ms = Clock(truth.last_day, 19 * _HOUR_MS).milliseconds

    def write_session(self, day: date) -> None:
        flavour, rng = next(self.flavours), self.rng
        project = rng.choices(
            self.truth.projects, [3, 2, 1, *[1] * len(self.truth.projects)][: len(self.truth.projects)]
        )[0]
        last_start = 9 if day == self.truth.last_day else 20
        clock = Clock(day, rng.randint(6 * _HOUR_MS, last_start * _HOUR_MS))
        session = self._session(flavour, project, clock)
        session.start()
        self._run(session, flavour)
        folder = self.truth.folder / "projects" / session.main.cwd.replace("/", "-")
        self._write(folder, session)
        if flavour.is_headless:
            was_killed = flavour.last_outcome != "completed"
            lines = headless.stream_lines(session.main.lines, session.usage, was_killed=was_killed)
            self._write_file(self.truth.folder / "runs" / f"{session.main.session_id}.jsonl", lines, session.clock)
        if flavour.is_forked:
            self._write(folder, self._fork(session, flavour))

    def _session(self, flavour: Flavour, project: str, clock: Clock) -> Session:
        rng = self.rng
        conversation = Conversation(
            truth=self.truth, rng=rng, clock=clock, client=flavour.client, project=project, cwd=f"/home/dev/{project}",
            branch=rng.choice(("main", "main", "fix/retries", "feature/search")), session_id=new_uuid(rng), lines=[],
        )  # fmt: skip
        self.truth.sessions[project] += 1
        lifetime = "5m" if flavour.is_headless or rng.random() < 0.6 else "1h"
        models = rng.choice(flavour.models)
        return Session(conversation, library=self.library, texture=self.texture, models=models, lifetime=lifetime)

    def _run(self, session: Session, flavour: Flavour) -> None:
        rng = self.rng
        if flavour.is_headless:
            session.execute("slash", flavour.last_outcome)
            return
        count = rng.randint(2, self.texture.executions_per_session)
        for number in range(count - 1):
            if session.clock.milliseconds > self.latest_ms:
                break
            outcome = next(self.outcomes)
            # A secret stands in the first command of its session, the kinds of place taking turns.
            secret = rng.choice(self.truth.secrets) if flavour.has_secret and number == 0 else None
            session.execute(
                next(self.openings), outcome, with_subagent=flavour.has_subagents and number == 0, secret=secret
            )
            if rng.random() < 0.1:
                session.repeat_last_response_line()
            if number == 0 and flavour.is_torn:
                session.tear_a_line()
                session.beacon()
            if (
                number == count // 2
                and flavour.is_resumed
                and session.clock.milliseconds + 20 * _HOUR_MS < self.latest_ms
            ):
                session.clock.milliseconds += rng.randint(8, 20) * _HOUR_MS
        session.execute(rng.choice(("prompt", "slash")), flavour.last_outcome)

    def _fork(self, original: Session, flavour: Flavour) -> Session:
        """A session that starts as a copy of another: same lines, same ids, another session id."""
        fork = self._session(flavour, original.main.project, original.clock)
        old, new = f'"sessionId":"{original.main.session_id}"', f'"sessionId":"{fork.main.session_id}"'
        fork.main.lines.extend(
            line.replace(old, new) for line in original.main.lines if not line.startswith('{"type":"queue-operation"')
        )
        fork.main.parent, fork.main.context_tokens = original.main.parent, original.main.context_tokens
        fork.execute(self.rng.choice(("prompt", "slash")), "completed")
        return fork

    def _write(self, folder: Path, session: Session) -> None:
        session_id = session.main.session_id
        session.main.plain(f'"type":"last-prompt","leafUuid":"{session.main.parent}"')
        self._write_file(folder / f"{session_id}.jsonl", session.main.lines, session.clock)
        for name, lines in session.subagent_files.items():
            self._write_file(folder / session_id / "subagents" / name, lines, session.clock)

    def _write_file(self, path: Path, lines: list[str], clock: Clock) -> None:
        """Writes a file as if it had been written then: written again, it is the same to everybody."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = ("\n".join(lines) + "\n").encode()
        path.write_bytes(content)
        os.utime(path, (clock.milliseconds / 1000, clock.milliseconds / 1000))
        self.truth.files += 1
        self.truth.lines += len(lines)
        self.truth.bytes += len(content)


def _deck(rng: random.Random, cards: tuple[Card, ...]) -> Iterator[Card]:
    while True:
        shuffled = list(cards)
        rng.shuffle(shuffled)
        yield from shuffled
