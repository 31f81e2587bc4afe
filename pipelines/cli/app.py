"""The commands and their help."""

from typing import Annotated

import typer

from pipelines.cli.dates import parse_day, parse_month

app = typer.Typer(
    help="tracemill: logs of LLM agents, landed once in PostgreSQL, and the marts built on them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
database = typer.Typer(help="The database: the embedded server, and migrations.", no_args_is_help=True)
app.add_typer(database, name="db", rich_help_panel=None)
archive = typer.Typer(help="The archive: months that left the database, and the way back.", no_args_is_help=True)
app.add_typer(archive, name="archive", rich_help_panel=None)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        import pipelines

        typer.echo(f"tracemill {pipelines.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(name="ingest")
def _ingest(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Logs and other outputs, folders that hold some, or Optuna storages by address."
        ),
    ],
    project: Annotated[
        str | None, typer.Option(help="Project that the records go to; else found from each log's working directory.")
    ] = None,
    source: Annotated[
        str, typer.Option(help="Format, such as claude_code or codex; auto looks at the content.")
    ] = "auto",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Files read at the same time.")] = 2,
    as_json: Json = False,
) -> None:
    """Read log files into the warehouse. Safe to repeat: what is known already changes nothing.

    Exit status 1 when a line was quarantined or a file could not be used; the report names it.

    \b
    Examples:
      tracemill ingest ~/.claude/projects
      tracemill ingest run.jsonl.gz --project storefront
      tracemill ingest logs/ --jobs 4 --json
      tracemill ingest postgresql://reader@tuning.example/optuna --project storefront
    """
    from pipelines.cli.ingest import ingest

    _exit(ingest(paths, project=project, source=source, jobs=jobs, as_json=as_json))


@app.command(name="aggregate")
def _aggregate(
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First UTC day to build again, YYYY-MM-DD.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last UTC day; yesterday when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the nightly job through Dagster, here and now.

    Builds the marts for the days asked for (yesterday when none is) and for every older day that late data touched.

    \b
    Examples:
      tracemill aggregate
      tracemill aggregate --from 2026-10-01 --to 2026-10-31
    """
    from pipelines.cli.aggregate import aggregate

    first_day, last_day = (parse_day(text) if text is not None else None for text in (first, last))
    _exit(aggregate(first_day, last_day, as_json=as_json))


@app.command(name="query")
def _query(
    statement: Annotated[str, typer.Argument(metavar="SQL", help="One statement that returns rows.")],
    project: Annotated[str | None, typer.Option(help="Project to look into; the only one when there is one.")] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds that the statement may take.")] = 60,
) -> None:
    """Ask the warehouse a question in SQL, as an analyst who sees one project and can change nothing.

    Tables of marts, monitoring, raw and app need no schema name.

    \b
    Examples:
      tracemill query "select * from daily_command_stats order by activity_date desc limit 5"
      tracemill query "select model, sum(output_tokens) from model_requests group by 1" --project storefront --csv
    """
    from pipelines.cli.query import query

    if as_json and as_csv:
        raise typer.BadParameter("Choose one of --json and --csv.")
    _exit(query(statement, project=project, form="json" if as_json else "csv" if as_csv else "table", seconds=timeout))


@app.command(name="embed")
def _embed(as_json: Json = False) -> None:
    """Make the vectors that `similar` compares, for every text that has none yet. Safe to repeat and to run twice.

    \b
    Examples:
      tracemill embed
      TRACEMILL_EMBEDDER=sentence-transformers TRACEMILL_EMBEDDING_MODEL=all-MiniLM-L6-v2 tracemill embed
    """
    from pipelines.cli.embed import embed

    _exit(embed(as_json=as_json))


@app.command(name="similar")
def _similar(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="An error text, a task, a piece of a configuration.")],
    project: Annotated[str | None, typer.Option(help="Project to look into; the only one when there is one.")] = None,
    kind: Annotated[
        str, typer.Option(help="What to look for: failure, scenario, configuration or trajectory.")
    ] = "failure",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Find what resembles a text: failures with such an error, nearest first. Equal texts are one.

    \b
    Examples:
      tracemill similar "connection timed out"
      tracemill similar "refund a cancelled order" --kind scenario --limit 3
      tracemill similar "KeyError: 'user_id'" --project storefront --json
    """
    from pipelines.cli.similar import similar

    _exit(similar(text, project=project, kind=kind, limit=limit, as_json=as_json))


@app.command(name="diff")
def _diff(
    configuration: Annotated[str, typer.Argument(metavar="CONFIG", help="Name of a configuration, or its config_id.")],
    first: Annotated[int | None, typer.Argument(metavar="V1", min=1, help="Earlier version.")] = None,
    last: Annotated[int | None, typer.Argument(metavar="V2", min=1, help="Later version.")] = None,
    project: Annotated[str | None, typer.Option(help="Project to look into; the only one when there is one.")] = None,
    as_json: Json = False,
) -> None:
    """Show what changed between two versions of a configuration, whether it was approved, and what it did.

    Compares the last two versions when none are given. The effect is measured on scenarios that both were run with.

    \b
    Examples:
      tracemill diff airline-agent
      tracemill diff airline-agent 1 3 --project storefront --json
    """
    from pipelines.cli.diff import diff

    if first is None or last is None:
        if first is not None:
            raise typer.BadParameter("Give both versions, or none for the last two.")
        _exit(diff(configuration, None, project=project, as_json=as_json))
    elif first >= last:
        raise typer.BadParameter(f"Version {last} does not follow version {first}: give the earlier version first.")
    else:
        _exit(diff(configuration, (first, last), project=project, as_json=as_json))


@app.command(name="maintain")
def _maintain(
    applies: Annotated[bool, typer.Option("--apply/--plan", help="Do it, or only say what would be done.")] = False,
    job: Annotated[
        str | None,
        typer.Option(help="maintain_partitions, apply_retention, cleanup_audit_log or purge_dagster_events; else all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look after the database: partitions, retention, audit log, Dagster's events. Shows its plan by default.

    Exit status 1 when something could not be done; the report says what.

    \b
    Examples:
      tracemill maintain
      tracemill maintain --apply --job apply_retention
    """
    from pipelines.cli.maintain import maintain

    _exit(maintain(job, applies=applies, as_json=as_json))


@archive.command(name="list")
def _archive_list(
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    as_json: Json = False,
) -> None:
    """Show the months that were archived, and whether their rows are in the database.

    \b
    Example:
      tracemill archive list --project storefront
    """
    from pipelines.cli.archive import list_months

    _exit(list_months(project=project, as_json=as_json))


@archive.command(name="restore")
def _archive_restore(
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Only this month.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only executions, outcomes or samples.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that was archived.")] = False,
    hold_days: Annotated[int, typer.Option(min=1, max=3650, help="Days that retention leaves the rows alone.")] = 7,
    as_json: Json = False,
) -> None:
    """Put archived months back into their tables. Safe to repeat: rows that are there stay as they are.

    \b
    Examples:
      tracemill archive restore --project storefront --month 2026-03
      tracemill archive restore --all --hold-days 30
    """
    from pipelines.cli.archive import restore_months

    if everything == any(given is not None for given in (project, month, domain)):
        raise typer.BadParameter("Say what to restore: --project, --month or --domain, or else --all.")
    first_day = parse_month(month) if month is not None else None
    _exit(restore_months(project=project, domain=domain, month=first_day, hold_days=hold_days, as_json=as_json))


@app.command(name="doctor")
def _doctor(as_json: Json = False) -> None:
    """Say what is wrong, and the command that mends it. Exit status 1 when something is wrong.

    \b
    Examples:
      tracemill doctor
      tracemill doctor --json
    """
    from pipelines.cli.doctor import doctor

    _exit(doctor(as_json=as_json))


@app.command(name="health")
def _health(as_json: Json = False) -> None:
    """Show the alerts that fire, worst first, each with the command that mends it.

    Exit status 1 when one is critical: numbers are wrong or open, or the platform is about to stop.

    \b
    Examples:
      tracemill health
      tracemill health --json
    """
    from pipelines.cli.health import health

    _exit(health(as_json=as_json))


@app.command(name="demo")
def _demo(as_json: Json = False) -> None:
    """Sample logs, ingested and aggregated: a warehouse to look at. A second demo changes no number.

    \b
    Examples:
      tracemill demo
    """
    from pipelines.cli.demo import demo

    _exit(demo(as_json=as_json))


@app.command(name="ui")
def _ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on the loopback interface.")] = 3000,
) -> None:
    """Start the Dagster UI and its daemon on this machine. Ctrl-C stops both.

    \b
    Examples:
      tracemill ui
      tracemill ui --port 3333
    """
    from pipelines.cli.ui import ui

    _exit(ui(port))


@database.command(name="start")
def _db_start(as_json: Json = False) -> None:
    """Start the embedded server when it is not running, and make its databases.

    \b
    Example:
      tracemill db start
    """
    from pipelines.cli import db

    _exit(db.start(as_json=as_json))


@database.command(name="stop")
def _db_stop(as_json: Json = False) -> None:
    """Stop the embedded server.

    \b
    Example:
      tracemill db stop
    """
    from pipelines.cli import db

    _exit(db.stop(as_json=as_json))


@database.command(name="url")
def _db_url(as_json: Json = False) -> None:
    """Print the DSN of the warehouse, for psql and other tools.

    \b
    Example:
      psql "$(tracemill db url)"
    """
    from pipelines.cli import db

    _exit(db.url(as_json=as_json))


@database.command(name="migrate")
def _db_migrate(as_json: Json = False) -> None:
    """Bring the database to the version of this tracemill. Safe to repeat and to run twice at once.

    \b
    Example:
      tracemill db migrate
    """
    from pipelines.cli import db

    _exit(db.migrate(as_json=as_json))


@database.command(name="status")
def _db_status(as_json: Json = False) -> None:
    """Say which server is used, whether it answers and which migrations it lacks.

    \b
    Example:
      tracemill db status --json
    """
    from pipelines.cli import db

    _exit(db.status(as_json=as_json))


@database.command(name="shell")
def _db_shell() -> None:
    """Open psql on the warehouse, with the rights of the platform itself.

    \b
    Example:
      tracemill db shell
    """
    from pipelines.cli import db

    _exit(db.shell())


def _exit(status: int) -> None:
    raise typer.Exit(status)
