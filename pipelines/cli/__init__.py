"""The command line: ``tracemill``. Thin shells over functions that tests and Dagster call as well.

Each command imports what it needs when it runs, so that help and completion are quick.
"""

import os
import sys
from pathlib import Path


def main() -> None:
    """Runs one command and exits with its status."""
    _open_closed_outputs()
    from pipelines.cli.app import app
    from pipelines.cli.errors import report

    try:
        app(prog_name="tracemill")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report(error))


def _open_closed_outputs() -> None:
    """Who closes an output (``>&-``) wants nothing from it, and no file or connection must get its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
