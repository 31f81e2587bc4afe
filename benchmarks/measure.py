"""What every benchmark needs: interleaved rounds, ratios, verdicts, memory of a process tree, a server of its own.

Machines are shared and noisy, so all peers run in turn, round after round, and only ratios of medians (and of minima)
are worth quoting.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from psycopg import sql

from pipelines.database import connect, embedded, migrations

REPOSITORY = Path(__file__).resolve().parent.parent

Run = Callable[[], float]
"""Does the work once; returns the seconds that count, without preparation."""


@dataclass
class Peer:
    """One way of doing the work, and how long it took."""

    name: str
    run: Run
    rounds: int | None = None
    """Fewer than the others, for those that take long."""
    note: str = ""
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def minimum(self) -> float:
        return min(self.seconds)


@dataclass(frozen=True)
class Verdict:
    """A requirement and what was measured for it."""

    name: str
    value: float
    limit: float
    at_least: bool = False
    unit: str = "x"

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return (
            f"{'pass' if self.holds else 'FAIL'}  {self.name}: {self.value:.2f} {self.unit} "
            f"(required {sign} {self.limit:g} {self.unit})"
        )


def interleave(peers: Sequence[Peer], rounds: int) -> None:
    """Runs all peers in turn, ``rounds`` times."""
    for number in range(rounds):
        for peer in peers:
            if number < (peer.rounds or rounds):
                peer.seconds.append(peer.run())
                say(f"  round {number + 1}  {peer.name:<44} {peer.seconds[-1]:8.2f} s")


def table(peers: Sequence[Peer], base: Peer) -> str:
    """Medians, minima and their ratios to ``base``, as a Markdown table."""
    lines = [
        f"| | median s | min s | x {base.name} (medians) | (minima) | rounds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for peer in peers:
        lines.append(
            f"| {peer.name}{' — ' + peer.note if peer.note else ''} | {peer.median:.2f} | {peer.minimum:.2f} "
            f"| {peer.median / base.median:.2f} | {peer.minimum / base.minimum:.2f} | {len(peer.seconds)} |"
        )
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def private_server() -> Iterator[Path]:
    """Home folder with a running embedded server, durable and set as shipped; removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="tracemill-bench-"))
    try:
        embedded.start(home)
        yield home
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def fresh_database(home: Path, name: str) -> str:
    """DSN of the migrated, empty database ``name``; one of an earlier round is dropped."""
    server = embedded.status(home)
    with connect(server.dsn("postgres"), autocommit=True) as admin:
        for statement in ("drop database if exists {} with (force)", "create database {}"):
            admin.execute(sql.SQL(statement).format(sql.Identifier(name)))
    migrations.migrate(server.dsn(name))
    with connect(server.dsn(name), autocommit=True) as connection:
        connection.execute("checkpoint")
    return server.dsn(name)


@dataclass(frozen=True)
class Finished:
    """A command that has ended well."""

    output: str
    seconds: float
    peak_bytes: int
    """Largest resident memory of the command with all its descendants, sampled; 0 when not asked for."""


def run_command(
    command: Sequence[str], *, env: dict[str, str] | None = None, accepted: Sequence[int] = (0,), memory: bool = False
) -> Finished:
    """Runs the command to its end. Raises RuntimeError with its last words when its status is not ``accepted``."""
    peak = 0
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command), env={**os.environ, **(env or {})}, cwd=REPOSITORY, stdout=output, stderr=errors
        )
        while memory and process.poll() is None:
            peak = max(peak, _tree_bytes(process.pid))
            time.sleep(0.1)
        status = process.wait()
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if status not in accepted:
            raise RuntimeError(f"{command[0]} ended with status {status}: {errors.read()[-1000:]}")
        return Finished(output.read(), seconds, peak)


def _tree_bytes(root: int) -> int:
    """Resident bytes of a process and its descendants, pages that they share counted once (Linux)."""
    total, todo = 0, [root]
    while todo:
        folder = Path("/proc") / str(todo.pop())
        try:
            memory = (folder / "smaps_rollup").read_text()
            children = [(task / "children").read_text().split() for task in (folder / "task").iterdir()]
        except OSError:
            continue
        total += next(int(line.split()[1]) * 1024 for line in memory.splitlines() if line.startswith("Pss:"))
        todo += [int(child) for found in children for child in found]
    return total
