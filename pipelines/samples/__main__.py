"""``python -m pipelines.samples FOLDER --size 1GB``: logs to measure with, as dense as real ones.

A size asks for real density (``REAL``); without one the folder gets what the demo uses.
"""

import argparse
import re
import sys
import time
from pathlib import Path

from pipelines.samples import COMPACT, DEFAULT_BYTES, REAL, generate

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str) -> int:
    """Bytes in ``250MB``; raises ArgumentTypeError that shows the form."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(KB|MB|GB|)", text.strip().upper())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write for example 300KB, 50MB or 1.5GB.")
    return int(float(match[1]) * _UNITS[match[2]])


def main() -> None:
    """Writes the logs and prints what they hold."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.samples", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=parse_size, help="for example 50MB; the demo's size when left out")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    started = time.perf_counter()
    truth = generate(
        options.folder,
        seed=options.seed,
        days=options.days,
        size_bytes=options.size or DEFAULT_BYTES,
        texture=REAL if options.size else COMPACT,
    )
    seconds = time.perf_counter() - started
    usage = truth.total_usage()
    sys.stdout.write(
        f"{truth.files} files, {truth.lines} lines, {truth.bytes / 1e6:.1f} MB in {seconds:.1f} s "
        f"({truth.bytes / 1e6 / seconds:.0f} MB/s)\n"
        f"{truth.executions.total()} executions, {usage.requests} responses, {truth.tool_calls.total()} tool uses, "
        f"{usage.total_tokens} tokens\n"
    )


if __name__ == "__main__":
    main()
