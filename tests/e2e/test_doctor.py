"""``tracemill doctor`` as a person meets it: what is wrong, and the command that mends it."""

import json
from pathlib import Path
from typing import Any

import psycopg

from pipelines.samples import SampleTruth
from tests.e2e.test_cli import Done, Run, run, sample
from tests.evaluation_rows import add_evaluation

__all__ = ["run", "sample"]


def findings(done: Done) -> dict[str, dict[str, Any]]:
    """What ``doctor --json`` found, by name."""
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


class TestDoctor:
    def test_healthy_warehouse(self, run: Run, sample: SampleTruth) -> None:
        run("ingest", str(sample.folder))
        done = run("doctor", "--json")
        report = json.loads(done.stdout)
        assert done.returncode == 0, report
        assert report["ok"] is True
        assert findings(done)["migrations"]["state"] == "ok"
        assert findings(done)["ingest"]["detail"].startswith(f"{sample.files} files")
        assert findings(done)["partitions"]["state"] == "ok"
        assert findings(done)["waiting days"]["remedy"] == "tracemill aggregate"
        assert findings(done)["query login"]["state"] == "ok"
        assert findings(done)["alerts"]["remedy"] == "tracemill aggregate", "the views are not there yet"

    def test_each_problem_names_the_command_that_mends_it(self, run: Run, empty_dsn: str) -> None:
        done = run("doctor", "--json", TRACEMILL_DATABASE_URL=empty_dsn)
        assert done.returncode == 1
        assert findings(done)["migrations"]["state"] == "problem"
        assert findings(done)["migrations"]["remedy"] == "tracemill db migrate"

        done = run("doctor", TRACEMILL_DATABASE_URL="")
        assert done.returncode == 1
        assert "tracemill db start" in done.stdout
        assert done.stderr == ""

    def test_rows_outside_their_months_are_a_problem_in_whichever_table(
        self, run: Run, connection: psycopg.Connection
    ) -> None:
        add_evaluation(connection, "alpha")
        connection.commit()
        done = run("doctor", "--json")
        finding = findings(done)["partitions"]
        assert done.returncode == 1
        assert finding["state"] == "problem"
        for relation in ("raw.outcomes", "raw.failure_patterns", "raw.tool_usage"):
            assert relation in finding["detail"]
        assert finding["remedy"] == "tracemill maintain --apply --job maintain_partitions"
        assert run(*finding["remedy"].split()[1:]).returncode == 0
        assert findings(run("doctor", "--json"))["partitions"]["state"] == "ok"

    def test_redaction_key_that_others_can_read(self, run: Run, sample: SampleTruth, tmp_path: Path) -> None:
        run("ingest", str(sample.folder))
        key = tmp_path / "home" / "redaction.key"
        key.chmod(0o644)
        done = run("doctor", "--json")
        assert findings(done)["redaction key"]["remedy"] == f"chmod 600 {key}"
        assert done.returncode == 1
