"""``tracemill query``: a question in SQL, answered as a table, CSV or JSON."""

import itertools
import sys
from typing import Literal

import psycopg

from pipelines import settings as environment
from pipelines.cli import reader
from pipelines.cli.errors import CommandError
from pipelines.cli.output import format_table, print_json, say, write_csv

_TABLE_ROWS = 1_000


def query(statement: str, *, project: str | None, form: Literal["table", "csv", "json"], seconds: int) -> int:
    """Prints the answer. Raises CommandError with the database's reason when there is none."""
    if not statement.strip():
        raise CommandError('The statement is empty: write for example "select * from command_patterns limit 5".')
    settings = environment.load()
    chosen = reader.choose_project(settings, project)
    try:
        with reader.ask(settings, statement, project=chosen, seconds=seconds) as answer:
            _print(answer, form)
    except psycopg.Error as error:
        if not reader.is_about_statement(error):
            raise
        raise CommandError(reader.describe(error, statement, seconds)) from error
    return 0


def _print(answer: reader.Answer, form: str) -> None:
    if form == "csv":
        write_csv(answer.columns, answer.rows)
    elif form == "json":
        rows = list(answer.rows)
        print_json({"columns": answer.columns, "rows": rows, "row_count": len(rows)})
    else:
        rows = list(itertools.islice(answer.rows, _TABLE_ROWS))
        sys.stdout.write(format_table(answer.columns, rows) + "\n")
        if next(answer.rows, None) is not None:
            say(f"The first {_TABLE_ROWS:,} rows; --csv and --json give all.")
        else:
            say(f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}")
