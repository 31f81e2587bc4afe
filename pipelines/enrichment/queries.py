"""The SQL of this package, read from the files beside it."""

from functools import cache
from pathlib import Path

from psycopg import sql

_FOLDER = Path(__file__).parent / "sql"


@cache
def load(name: str) -> sql.SQL:
    """The query in ``sql/NAME.sql``."""
    return sql.SQL((_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
