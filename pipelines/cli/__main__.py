"""``python -m pipelines.cli``: the command line where its script is not on the path."""

from pipelines.cli import main

main()
