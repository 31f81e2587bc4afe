"""The Dagster UI as a data engineer uses it: look at the lineage, materialize by clicking, see that it worked."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipelines.database import connect
from pipelines.settings import REPOSITORY
from tests.dagster_world import World, dagster_world
from tests.e2e.chromium import Page, browser, installed

ARTIFACTS = REPOSITORY / "tests" / "artifacts"
_START_SECONDS = 180

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    executable = installed()
    if executable is None:
        pytest.skip("no Chromium on this machine: install it (Debian: apt-get install chromium) to test the UI")
    with browser(executable) as opened:
        yield opened


@pytest.fixture(scope="module")
def world(
    page: Page, migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with dagster_world(migrated_database, tmp_path_factory.mktemp("ui")) as made:
        yield made


@pytest.fixture(scope="module")
def address(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where ``tracemill ui`` serves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("ui-log") / "ui.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "ui", "--port", str(port)],
            env={**os.environ, **world.environment}, cwd=REPOSITORY, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/server_info", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_up(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 (our own)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)


def test_lineage_and_materializing_by_clicking(page: Page, address: str, world: World) -> None:
    page.open(f"{address}/assets/marts/cache_effectiveness?view=lineage&lineageScope=upstream&lineageDepth=5")
    page.wait_for("executions", "command_executions", "staging", "daily_command_stats", "cache_effectiveness")
    page.photograph(ARTIFACTS / "ui-lineage.png")

    page.open(f"{address}/assets/raw/command_executions")
    page.wait_for("Never materialized")
    page.click("Materialize")
    page.click("Confirm")  # all raw tables come from one reading of the logs
    page.wait_until_gone("Never materialized")
    page.open(f"{address}/runs")
    page.wait_for("Success")

    with connect(world.dsn) as connection:
        count = connection.execute("select count(*) from raw.command_executions").fetchone()
    assert count == (sum(world.truth.executions.values()),)
    page.open(f"{address}/assets/raw/command_executions")
    page.wait_for("Row count", f"\n{count[0]:,}\n", "inserted", "quarantined", "preview")
    page.photograph(ARTIFACTS / "ui-materialized.png")
