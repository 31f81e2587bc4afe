"""Days and months as people type them. What is none, an empty text among them, is a usage error."""

from datetime import date

import typer


def parse_day(text: str) -> date:
    """A day of the calendar. Raises typer.BadParameter."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day: write YYYY-MM-DD, for example 2026-10-31.") from None


def parse_month(text: str) -> date:
    """The first day of a month. Raises typer.BadParameter."""
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no month: write YYYY-MM, for example 2026-10.") from None
