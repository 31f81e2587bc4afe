"""Loads the dumped rows with dlt; run by the Python of an environment that has it, so it imports nothing of ours.

python load_with_dlt.py DSN FOLDER append|merge     prints the seconds that pipeline.run took, imports not counted
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt

_KEYS = {
    "command_executions": ("project_id", "id"),
    "model_requests": ("project_id", "request_key"),
    "tool_calls": ("project_id", "tool_use_id"),
}


def _rows(path: Path) -> Iterator[list[dict[str, Any]]]:
    with path.open() as file:
        while page := [json.loads(line) for _, line in zip(range(5000), file, strict=False)]:
            yield page


def main() -> None:
    dsn, folder, disposition = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    resources = [
        dlt.resource(
            _rows(path),
            name=path.stem,
            write_disposition=disposition,
            primary_key=_KEYS[path.stem],
            max_table_nesting=0,
        )
        for path in sorted(folder.glob("*.jsonl"))
    ]
    with tempfile.TemporaryDirectory() as state:
        pipeline = dlt.pipeline(
            "rows", destination=dlt.destinations.postgres(dsn), dataset_name="loaded_by_dlt", pipelines_dir=state
        )
        started = time.perf_counter()
        pipeline.run(resources)
        print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
