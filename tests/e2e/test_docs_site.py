"""`make docs`: one page that stands alone, with every table, view and column described."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.settings import REPOSITORY


@pytest.mark.slow
def test_docs_are_one_page_on_which_every_column_is_described(tmp_path: Path) -> None:
    programs = os.path.relpath(Path(sys.executable).parent, REPOSITORY)
    done = subprocess.run(
        ["make", "--assume-old=.venv/.installed", "docs", f"BIN={programs}"], cwd=REPOSITORY,
        env={**os.environ, "DBT_TARGET_PATH": str(tmp_path), "DBT_LOG_PATH": str(tmp_path)},
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "static_index.html").read_text()
    nodes = json.loads((tmp_path / "manifest.json").read_text())["nodes"].values()
    models = {node["name"]: node for node in nodes if node["resource_type"] == "model"}
    assert len(models) >= 80
    for name, model in models.items():
        assert model["columns"], name
        for thing in (model, *model["columns"].values()):
            assert thing["description"], f"{name}: {thing['name']}"
            assert json.dumps(thing["description"])[1:-1] in page, f"{name}: {thing['name']}"
