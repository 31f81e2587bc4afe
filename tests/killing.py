"""Work that is killed: done again and again by processes of their own, each killed when a test says so."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pipelines.settings import REPOSITORY

# Starting Python takes longer than the work: one process imports everything, and forks one that works for each line.
_PROGRAM = """
import os, sys
{preparation}
for _ in sys.stdin:
    if (worker := os.fork()) == 0:
        os.dup2(2, 1)
        os._exit(0 if {work} else 1)
    os.setpgid(worker, worker)
    print(worker, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]), flush=True)
"""


class Workers:
    """Processes that do the work, one after the other."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program

    def run(self, kill_after: float | None = None, *, with_children: bool = True) -> bool:
        """Lets one work, kills it after so many seconds, and says whether it ended by itself, which must be well."""
        stdin, stdout = self._program.stdin, self._program.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write("\n")
        stdin.flush()
        worker = int(stdout.readline())
        timer = threading.Timer(kill_after or 600, _kill, [worker, with_children])
        timer.start()
        status = int(stdout.readline())
        timer.cancel()
        assert status in (0, -signal.SIGKILL)
        return status == 0


def _kill(worker: int, with_children: bool) -> None:
    with suppress(ProcessLookupError):  # it has just ended
        (os.killpg if with_children else os.kill)(worker, signal.SIGKILL)


@contextmanager
def workers(preparation: str, work: str, environment: Mapping[str, str]) -> Iterator[Workers]:
    """Python that runs ``preparation`` once and the expression ``work`` in each process; it must come out true."""
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM.format(preparation=preparation, work=work)]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, cwd=REPOSITORY, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as program:  # fmt: skip
        yield Workers(program)
