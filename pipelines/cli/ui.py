"""``tracemill ui``: Dagster's web server and daemon on the loopback interface, until Ctrl-C.

What Dagster prints goes to a file: on a terminal it would bury the one line that matters, the address.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from pipelines import settings as environment
from pipelines.cli.errors import CommandError
from pipelines.cli.output import say, step
from pipelines.cli.warehouse import ready_warehouse
from pipelines.settings import REPOSITORY

HOST = "127.0.0.1"
_START_SECONDS = 180
_STOP_SECONDS = 30


def ui(port: int) -> int:
    """Runs both processes and returns when they have ended. Raises CommandError when they do not start."""
    from pipelines.maintenance.dagster_home import prepare_dagster_home

    _require_free(port)
    settings = environment.load()
    variables = {**os.environ, **prepare_dagster_home(settings, ready_warehouse(settings))}
    log = settings.dagster_home / "ui.log"
    command = [
        sys.executable, "-W", "ignore", "-m", "dagster", "dev", "--workspace", str(REPOSITORY / "workspace.yaml"),
        "--host", HOST, "--port", str(port),
    ]  # fmt: skip
    _heed_signals()
    with log.open("w") as output:
        # A session of its own: Ctrl-C reaches this process only, which then stops Dagster in order.
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        with step(f"starting Dagster (its log: {log})"):
            _wait_until_up(process, port, log)
        say(f"Dagster is at http://{HOST}:{port} (Ctrl-C stops it; its log: {log})")
        status = process.wait()
        if status != 0:
            raise CommandError(f"Dagster ended by itself with status {status}: see {log}.")
    except KeyboardInterrupt:
        say("Stopping Dagster …")
    finally:
        _stop(process)
    return 0


def _heed_signals() -> None:
    """Makes whatever asks this process to end a KeyboardInterrupt: what it started must not outlive it."""
    # Scripts start what runs in the background with interrupts ignored, and Dagster would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else it is to outlive its terminal
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} of {HOST} cannot be used ({error.strerror}): choose another with --port."
            ) from None


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CommandError(f"Dagster did not start: {_last_line(log)} See {log}.")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/server_info", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise CommandError(f"Dagster did not answer within {_START_SECONDS} s: see {log}.")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Lets Dagster end in order; at once when it takes too long, or when somebody asks a second time."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
