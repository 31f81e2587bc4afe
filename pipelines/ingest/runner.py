"""An ingest from end to end: find the files, leave out what the ledger knows, share the rest among workers.

Several processes read and merge side by side; the database keeps them apart. A small ingest stays in this
process, because starting another one would cost more than it saves.
"""

import gc
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pipelines.database import connect
from pipelines.ingest import files, ledger, projects
from pipelines.ingest.files import LogFile
from pipelines.ingest.report import MAX_PROBLEMS, IngestReport, Problem, Progress
from pipelines.settings import Settings
from pipelines.sources.outputs import shown_name

ROLE = "tracemill_ingest"
GROUP_BYTES = 128 << 20
"""Files that go to a worker together: a merge costs its planning, however few rows it has."""
GROUPS_PER_WORKER = 4
"""At least, so that no worker waits long for the last one."""
SECONDS_BETWEEN_MESSAGES = 0.1
ALONE_BYTES = 16 << 20
"""Below this, one process does the work."""

OnProgress = Callable[[Progress], None]


class WorkerDied(RuntimeError):
    """A worker process ended before its work did."""


def run(
    paths: Iterable[Path],
    *,
    dsn: str,
    settings: Settings,
    storages: Sequence[str] = (),
    project: str | None = None,
    source: str = "auto",
    jobs: int = 2,
    on_progress: OnProgress | None = None,
) -> IngestReport:
    """Ingests all logs under ``paths`` and what the Optuna ``storages`` at these addresses hold.

    Safe to repeat and to run several times at once. Raises files.Unreadable for a path that does not exist,
    projects.BadProject for an id that cannot be one and psycopg.Error when the database fails; what was committed
    before stands, and the next run goes on from there.
    """
    from pipelines.ingest.redaction import Redactor, load_key

    started = time.monotonic()
    paths = list(paths)
    shown = shown_name(", ".join(str(path) for path in paths))
    if project is not None:
        projects.checked(project)
    left_out: list[files.LeftOut] = []
    found = files.find(paths, left_out)
    report = IngestReport()
    key = load_key(settings)
    if left_out:
        redactor = Redactor(key)
        for missed in left_out[:MAX_PROBLEMS]:
            place = redactor.path(str(missed.path))
            report.problems.append(Problem(place, "unreadable", f"{place} {missed.reason}"))
    if paths and not found and not left_out:
        report.problems.append(
            Problem(shown, "no_logs", f"{shown} holds no files; give the folder that your client logs to.")
        )
    keys = {file.path: files.keyed_hash(key, settings.device_id, str(file.path), project or "") for file in found}
    with connect(dsn, role=ROLE) as connection:
        unchanged = ledger.unchanged(connection, {keys[file.path]: file for file in found})
        pending = [file for file in found if keys[file.path] not in unchanged]
        known = ledger.load(connection, [keys[file.path] for file in pending]) if pending else {}
    if unchanged:
        report.files_by_state["unchanged"] += len(unchanged)
    if pending or storages:
        from pipelines.ingest.worker import Job

        job = Job(dsn, key, settings.device_id, project, source, dict(settings.project_prefixes))
    if pending:
        tracker = _Tracker(pending, len(found), started, on_progress)
        if jobs <= 1 or sum(file.size for file in pending) < ALONE_BYTES:
            report.add(_work(job, pending, known, tracker.advance))
        else:
            report.add(_share(job, pending, known, keys, jobs, tracker))
    if report.documents or storages:
        with _loader(job) as loader:
            if report.documents:
                report.add(loader.load(report.documents, tracker.advance))
            for url in storages:
                report.add(loader.load_storage(url))
    if (
        found
        and not report.problems
        and not any(report.files_by_state[state] for state in ("new", "grown", "replaced", "truncated", "unchanged"))
    ):
        report.problems.append(
            Problem(
                shown,
                "no_logs",
                f"{shown} holds {len(found)} files but no logs; give the folder that your client logs to.",
            )
        )
    report.seconds = time.monotonic() - started
    return report


class _Tracker:
    """Turns what workers have done into Progress."""

    def __init__(self, pending: Sequence[LogFile], total: int, started: float, on_progress: OnProgress | None) -> None:
        self._started = started
        self._on_progress = on_progress
        self._files_total = total
        self._files_done = total - len(pending)
        self._bytes_total = sum(file.size for file in pending)
        self._bytes_done = 0

    def advance(self, files_done: int, bytes_done: int) -> None:
        self._files_done += files_done
        self._bytes_done += bytes_done
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    self._files_done,
                    self._files_total,
                    self._bytes_done,
                    self._bytes_total,
                    time.monotonic() - self._started,
                )
            )


def _work(job: Any, pending: Sequence[LogFile], known: dict[str, ledger.LedgerEntry], advance: Any) -> IngestReport:
    from pipelines.ingest.worker import Worker

    with connect(job.dsn, role=ROLE) as connection:
        return Worker(job, connection).ingest(pending, known, advance)


@contextmanager
def _loader(job: Any) -> Iterator[Any]:
    from pipelines.ingest import merge
    from pipelines.ingest.outputs import Loader
    from pipelines.ingest.redaction import Redactor

    with connect(job.dsn, role=ROLE) as connection:
        merge.prepare(connection, job.device_id)
        yield Loader(
            connection,
            Redactor(job.key),
            job.key,
            device_id=job.device_id,
            project=job.project,
            project_prefixes=job.project_prefixes,
        )


def _groups(pending: Sequence[LogFile], jobs: int) -> Iterator[list[LogFile]]:
    """Neighbours together, so that a session and its subagents mostly meet in one batch."""
    limit = min(GROUP_BYTES, sum(file.size for file in pending) // (jobs * GROUPS_PER_WORKER))
    group: list[LogFile] = []
    size = 0
    for file in pending:
        if group and size + file.size > limit:
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def _share(
    job: Any,
    pending: Sequence[LogFile],
    known: dict[str, ledger.LedgerEntry],
    keys: dict[Path, str],
    jobs: int,
    tracker: _Tracker,
) -> IngestReport:
    """Hands groups of files to worker processes as they become free.

    Neighbours mostly belong to one project, whose rows one worker at a time can merge: so half of the workers begin
    at the last file.
    """
    context: ForkContext | SpawnContext = multiprocessing.get_context("spawn")
    if _may_fork():
        from pipelines.ingest.worker import load_what_workers_share

        load_what_workers_share()
        context = multiprocessing.get_context("fork")
    groups = deque(_groups(pending, jobs))
    report = IngestReport()
    workers: dict[Connection, Any] = {}
    takers: dict[Connection, Callable[[], list[LogFile]]] = {}
    try:
        for number in range(min(jobs, len(groups))):
            here, there = context.Pipe()
            inherited = [*workers, here] if isinstance(context, ForkContext) else []
            process = context.Process(target=_serve, args=(job, there, inherited), daemon=True)
            process.start()
            there.close()
            workers[here] = process
            takers[here] = groups.pop if number % 2 else groups.popleft
            group = takers[here]()
            with _living(process):
                here.send((group, _entries(group, known, keys)))
        while workers:
            for pipe in wait(list(workers)):
                assert isinstance(pipe, Connection)  # noqa: S101 (wait returns what it was given)
                with _living(workers[pipe]):
                    message = pipe.recv()
                if isinstance(message, BaseException):
                    raise message
                if isinstance(message, IngestReport):
                    report.add(message)
                    if not groups:
                        with _living(workers[pipe]):
                            pipe.send(None)
                        workers.pop(pipe).join()
                        pipe.close()
                    else:
                        group = takers[pipe]()
                        with _living(workers[pipe]):
                            pipe.send((group, _entries(group, known, keys)))
                else:
                    tracker.advance(*message)
    finally:
        for pipe, process in workers.items():
            process.terminate()
            process.join()
            pipe.close()
    return report


@contextmanager
def _living(process: BaseProcess) -> Iterator[None]:
    """Talks to a worker. Raises WorkerDied when it has ended; what it left unread resets the connection."""
    try:
        yield
    except (EOFError, ConnectionError):
        process.join()
        raise WorkerDied(
            f"a worker process ended with status {process.exitcode}; "
            "what it had committed stands, run the ingest again."
        ) from None


def _entries(
    group: Sequence[LogFile], known: dict[str, ledger.LedgerEntry], keys: dict[Path, str]
) -> dict[str, ledger.LedgerEntry]:
    return {key: known[key] for file in group if (key := keys[file.path]) in known}


def _may_fork() -> bool:
    """Whether this process has no other thread, for which forking would be unsafe; False where the system cannot tell.

    A forked worker shares the rules and prices that were loaded before it; a spawned one loads its own.
    """
    threads = Path("/proc/self/task")
    return threads.is_dir() and len(list(threads.iterdir())) == 1


class _Messenger:
    """Tells the parent how far the work is, a few times a second: for each message two processes change places."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._files = self._bytes = 0
        self._next = 0.0

    def __call__(self, files_done: int, bytes_done: int) -> None:
        self._files += files_done
        self._bytes += bytes_done
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Tells what is left to tell."""
        self._pipe.send((self._files, self._bytes))
        self._files = self._bytes = 0
        self._next = time.monotonic() + SECONDS_BETWEEN_MESSAGES


def _collect_between_groups() -> None:
    """Records refer to each other in no circle, so looking for such among them is time lost."""
    gc.freeze()
    gc.disable()


def _serve(job: Any, pipe: Connection, inherited: Sequence[Connection]) -> None:
    """A worker process: takes groups until there are none left; an error travels back as itself.

    It closes the ends that it ``inherited``, so that it and its siblings notice when their parent is gone.
    """
    for end in inherited:
        end.close()
    try:
        with connect(job.dsn, role=ROLE) as connection:
            from pipelines.ingest.worker import Worker

            worker = Worker(job, connection)
            _collect_between_groups()
            advance = _Messenger(pipe)
            while (message := pipe.recv()) is not None:
                group, known = message
                report = worker.ingest(group, known, advance)
                advance.flush()
                pipe.send(report)
                gc.collect()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except BaseException as error:
        try:
            pipe.send(error)
        except Exception:
            pipe.send(RuntimeError(str(error)))
