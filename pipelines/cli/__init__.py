"""The command line: ``tracemill``. Thin shells over functions that tests and Dagster call as well.

Each command imports what it needs when it runs, so that help and completion are quick.
"""

import sys


def main() -> None:
    """Runs one command and exits with its status."""
    from pipelines.cli.app import app
    from pipelines.cli.errors import report

    try:
        app(prog_name="tracemill")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(report(error))
