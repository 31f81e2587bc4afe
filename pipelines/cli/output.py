"""How results look: one JSON object, CSV, or a table for people; progress goes to stderr, and to terminals only."""

import csv
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.ingest.report import Progress

_LONGEST_CELL = 80
_REFRESH_SECONDS = 0.1


def encode_json(value: Any) -> str:
    """``value`` as JSON; numbers of the database keep every digit, times are ISO 8601 in UTC."""
    import msgspec

    encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
    return encoder.encode(_finite(value)).decode()


def print_json(value: Any) -> None:
    """The one JSON object of a command."""
    sys.stdout.write(encode_json(value) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: numbers that are none become null, as floats do."""
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def cell(value: Any) -> str:
    """A value as text for CSV and tables; NULL is empty."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal | int | float):
        return str(value)
    text = encode_json(value)
    return text[1:-1] if text.startswith('"') else text


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """CSV with a header to stdout; returns the number of rows."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([cell(value) for value in row])
        count += 1
    return count


def format_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: bool = False) -> str:
    """A table for people, long cells cut: numbers to the right, with ``right`` every cell that begins like one."""
    texts = [[_short(cell(value)) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[n]) for row in texts)]) for n, name in enumerate(columns)]
    is_number = [any(_is_number(row[n], formatted=right) for row in rows) for n in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(cells, widths, is_number, strict=True)
        )
        return "  ".join(aligned).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(columns), rule, *(line(row) for row in texts)])


def _is_number(value: Any, *, formatted: bool) -> bool:
    if isinstance(value, str):
        return formatted and value.lstrip("≥ ")[:1].isdigit()
    return isinstance(value, Decimal | int | float) and not isinstance(value, bool)


def _short(text: str) -> str:
    text = " ".join(text.split("\n"))
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def count(number: int | None) -> str:
    """1234567 as 1,234,567; nothing for None."""
    return "" if number is None else f"{number:,}"


def megabytes(size: float) -> str:
    """Bytes as MB, or GB from one GB on."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def say(text: str) -> None:
    """A line for the person, beside the result: to stderr."""
    sys.stderr.write(text + "\n")


@contextmanager
def ingest_progress() -> Iterator["Callable[[Progress], None] | None"]:
    """Shows files, bytes, rate and time left on a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.fields[files]}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,  # by a thread, beside which no worker could be forked
    )
    with bar:
        task = bar.add_task("ingest", total=None, files="looking for files")
        next_at = 0.0

        def show(progress: "Progress") -> None:
            nonlocal next_at
            now = time.monotonic()
            if now < next_at:
                return
            next_at = now + _REFRESH_SECONDS
            bar.update(
                task,
                completed=progress.bytes_done,
                total=progress.bytes_total,
                files=f"{progress.files_done}/{progress.files_total} files",
                refresh=True,
            )

        yield show


@contextmanager
def step(title: str) -> Iterator["Callable[[str], None] | None"]:
    """Shows what is going on, and its newest line, on a terminal; None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status(Text(title)) as status:

        def show(line: str) -> None:
            text = Text(f"{title}: {line}")
            text.truncate(max(20, console.width - 4), overflow="ellipsis")
            status.update(text)

        yield show
