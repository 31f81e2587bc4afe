"""``tracemill doctor``: what is wrong, and the command that mends it. It starts and changes nothing.

``problem`` keeps tracemill from working or makes its numbers doubtful and gives exit status 1; ``note`` is worth
knowing; ``ok`` is fine.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipelines import settings as environment
from pipelines.cli.errors import sentence
from pipelines.cli.output import print_json
from pipelines.settings import Settings

_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    state: Literal["ok", "note", "problem"]
    detail: str
    remedy: str | None = None
    """The command that mends it."""


def doctor(*, as_json: bool) -> int:
    """Looks at everything; 1 when there is a problem."""
    findings = list(examine())
    problems = sum(finding.state == "problem" for finding in findings)
    if as_json:
        print_json({"ok": problems == 0, "problems": problems, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            sys.stdout.write(f"{_MARKS[finding.state]:<8}{finding.name:<{width}}  {finding.detail}\n")
            if finding.remedy:
                sys.stdout.write(f"{'':<{8 + width}}  → {finding.remedy}\n")
        end = f"{problems} {'problem' if problems == 1 else 'problems'}." if problems else "Everything is fine."
        if not problems and any(finding.state == "note" for finding in findings):
            end = "No problem; the notes are worth knowing."
        sys.stdout.write(f"\n{end}\n")
    return 1 if problems else 0


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which things depend on each other."""
    yield _python()
    yield from _packages()
    try:
        settings = environment.load()
    except environment.SettingsError as error:
        yield Finding("settings", "problem", str(error), "correct that variable; .env.example explains each")
        return
    yield from _local_state(settings)
    yield from _watched_folders(settings)
    yield from _warehouse(settings)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", "ok", version)


def _packages() -> Iterator[Finding]:
    needed = ("psycopg", "msgspec", "dagster", "dagster_webserver", "dagster_postgres", "dagster_dbt", "dbt")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("packages", "problem", f"missing: {', '.join(missing)}", "make install")
    else:
        yield Finding("packages", "ok", "all installed")


def _local_state(settings: Settings) -> Iterator[Finding]:
    if not settings.home.is_dir():
        yield Finding("home", "note", f"{settings.home} does not exist yet", "tracemill demo, or tracemill ingest PATH")
        return
    yield Finding("home", "ok", str(settings.home))
    key = settings.home / "redaction.key"
    if settings.redaction_key:
        yield Finding("redaction key", "ok", "from TRACEMILL_REDACTION_KEY")
    elif not key.exists():
        yield Finding("redaction key", "note", "none yet: the first ingest makes one")
    elif key.stat().st_mode & 0o077:
        yield Finding("redaction key", "problem", f"others may read {key}", f"chmod 600 {key}")
    else:
        yield Finding("redaction key", "ok", str(key))
    configured = (settings.dagster_home / "dagster.yaml").exists()
    detail = str(settings.dagster_home) if configured else "none yet: the first aggregation makes it"
    yield Finding("dagster home", "ok" if configured else "note", detail)
    manifest = settings.home / "dbt" / "manifest.json"
    found = manifest.exists()
    yield Finding("dbt manifest", "ok" if found else "note", str(manifest) if found else "none yet, made when needed")


def _watched_folders(settings: Settings) -> Iterator[Finding]:
    for folder in settings.watched_folders:
        expanded = folder.expanduser()
        if not expanded.is_dir():
            yield Finding(
                "watched folder", "note", f"{folder} does not exist",
                "set TRACEMILL_WATCHED_FOLDERS to the folders that your clients log to",
            )  # fmt: skip
        elif next(expanded.rglob("*.jsonl*"), None) is None:
            yield Finding("watched folder", "note", f"{folder} holds no logs")
        else:
            yield Finding("watched folder", "ok", str(folder))


def _warehouse(settings: Settings) -> Iterator[Finding]:
    from pipelines.database import connect, embedded, migrations

    dsn = settings.database_url
    if dsn is None:
        server = embedded.status(settings.home)
        if not server.running:
            yield Finding("database", "problem", "the embedded server is not running", "tracemill db start")
            return
        dsn = server.dsn()
    try:
        with connect(dsn, autocommit=True) as connection:
            version = connection.info.server_version
            migrations.require_supported(version)
            yield Finding(
                "database", "ok", f"PostgreSQL {version // 10000}.{version % 10000}, "
                f"{'embedded' if settings.database_url is None else 'external'}, {connection.info.dbname}",
            )  # fmt: skip
            state = migrations.status(dsn)
            state.require_not_newer()
            if state.pending:
                yield Finding(
                    "migrations", "problem", f"{len(state.pending)} are missing ({state.pending[0]} first)",
                    "tracemill db migrate",
                )  # fmt: skip
                return
            yield Finding("migrations", "ok", f"{len(state.applied)} applied")
            yield from _contents(connection, settings)
    except Exception as error:
        yield Finding("database", "problem", sentence(error), "tracemill db status")


def _contents(connection: Any, settings: Settings) -> Iterator[Finding]:
    for check in (
        _extensions,
        _reader_login,
        _default_partitions,
        _ledger,
        _quarantine,
        _last_aggregation,
        _waiting_days,
        firing_alerts,
    ):
        yield from check(connection, settings)


Check = Callable[[Any, Settings], Iterator[Finding]]


def _extensions(connection: Any, _settings: Settings) -> Iterator[Finding]:
    wanted = {"vector", "btree_gin", "btree_gist", "pg_trgm", "pg_stat_statements"}
    installed = {name for (name,) in connection.execute("select extname from pg_extension")}
    missing = ", ".join(sorted(wanted - installed))
    if missing:
        yield Finding("extensions", "note", f"not installed: {missing}", f"as a superuser: create extension {missing}")
    else:
        yield Finding("extensions", "ok", ", ".join(sorted(wanted)))


def _reader_login(_connection: Any, settings: Settings) -> Iterator[Finding]:
    from pipelines.cli.reader import has_reader_login

    if has_reader_login(settings):
        yield Finding("query login", "ok", "questions are asked through a login without rights of its own")
    else:
        yield Finding(
            "query login", "note",
            "`tracemill query` uses the platform's own login: good against mistakes, not against a hostile statement",
            "set TRACEMILL_READER_DATABASE_URL to a DSN of the login tracemill_reader, with a password",
        )  # fmt: skip


def _default_partitions(connection: Any, _settings: Settings) -> Iterator[Finding]:
    filled = connection.execute("select relation, row_count from ops.rows_in_default() order by relation").fetchall()
    if filled:
        counts = ", ".join(f"{relation} ({rows:,})" for relation, rows in filled)
        yield Finding(
            "partitions", "problem", f"rows outside every month in {counts}: they block those months",
            "tracemill maintain --apply --job maintain_partitions",
        )  # fmt: skip
    else:
        yield Finding("partitions", "ok", "no rows outside their months")


def _ledger(connection: Any, _settings: Settings) -> Iterator[Finding]:
    files, last, unrecognised = connection.execute(
        "select count(*), max(last_ingested_at), count(*) filter (where source is null) from ops.ingest_files"
    ).fetchone()
    if not files:
        yield Finding("ingest", "note", "nothing was ingested yet", "tracemill ingest ~/.claude/projects")
        return
    other = f", {unrecognised:,} of them no logs" if unrecognised else ""
    yield Finding("ingest", "ok", f"{files:,} files known{other}, last read {last:%Y-%m-%d %H:%M} UTC")


def _quarantine(connection: Any, _settings: Settings) -> Iterator[Finding]:
    lines, files, commonest = connection.execute(
        "select count(*), count(distinct file_key), mode() within group (order by reason) from ops.quarantined_records"
    ).fetchone()
    if lines:
        yield Finding(
            "quarantine", "note", f"{lines:,} lines of {files:,} files, most often: {commonest}",
            "tracemill db shell, then: select path, line_number, detail from ops.quarantined_records",
        )  # fmt: skip
    else:
        yield Finding("quarantine", "ok", "empty")


def _last_aggregation(connection: Any, _settings: Settings) -> Iterator[Finding]:
    row = connection.execute(
        "select status, started_at, finished_at, day_count, detail from ops.refresh_log "
        "order by refresh_id desc limit 1"
    ).fetchone()
    if row is None:
        yield Finding("aggregation", "note", "has never run", "tracemill aggregate")
        return
    status, started, finished, days, detail = row
    if status == "failed":
        yield Finding("aggregation", "problem", f"the last one failed: {detail}", "tracemill aggregate")
    elif status == "running":
        yield Finding("aggregation", "note", f"running since {started:%Y-%m-%d %H:%M} UTC")
    else:
        yield Finding("aggregation", "ok", f"last finished {finished:%Y-%m-%d %H:%M} UTC, {days:,} days")


def _waiting_days(connection: Any, _settings: Settings) -> Iterator[Finding]:
    days, first, last = connection.execute(
        "select count(distinct activity_date), min(activity_date), max(activity_date) from ops.touched_days"
    ).fetchone()
    if days:
        yield Finding(
            "waiting days", "note", f"{days:,} days from {first} to {last} changed since they were aggregated",
            "tracemill aggregate",
        )  # fmt: skip
    else:
        yield Finding("waiting days", "ok", "none: the marts are up to date")


def firing_alerts(connection: Any, _settings: Settings | None = None) -> Iterator[Finding]:
    """What fires in the monitoring views, each as a finding."""
    from pipelines.maintenance import alerts

    try:
        with connection.transaction():
            connection.execute(f"set local role {alerts.ROLE}")
            # Rows in DEFAULT partitions are looked for above, views or not.
            firing = [alert for alert in alerts.firing(connection) if alert.alert != "rows_in_default"]
    except alerts.MonitoringMissingError:
        yield Finding("alerts", "note", "nothing is watched before the first aggregation", "tracemill aggregate")
        return
    for alert in firing:
        yield Finding(
            "alert",
            "problem" if alert.severity == "critical" else "note",
            f"{alert.alert} ({alert.project_id or 'platform'}): {alert.summary}",
            # What sends people here must not send them in a circle.
            f"docs/runbooks/alerts.md, {alert.alert}" if alert.command == "tracemill doctor" else alert.command,
        )
    if not firing:
        yield Finding("alerts", "ok", "nothing fires")
