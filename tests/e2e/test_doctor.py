"""``tracemill doctor`` as a person meets it: what is wrong, and the command that mends it."""

import json
from pathlib import Path

from pipelines.samples import SampleTruth
from tests.e2e.test_cli import Run, run, sample

__all__ = ["run", "sample"]


class TestDoctor:
    def test_healthy_warehouse(self, run: Run, sample: SampleTruth) -> None:
        run("ingest", str(sample.folder))
        done = run("doctor", "--json")
        report = json.loads(done.stdout)
        findings = {finding["name"]: finding for finding in report["findings"]}
        assert done.returncode == 0, report
        assert report["ok"] is True
        assert findings["migrations"]["state"] == "ok"
        assert findings["ingest"]["detail"].startswith(f"{sample.files} files")
        assert findings["partitions"]["state"] == "ok"
        assert findings["waiting days"]["remedy"] == "tracemill aggregate"
        assert findings["query login"]["state"] == "ok"

    def test_each_problem_names_the_command_that_mends_it(self, run: Run, empty_dsn: str) -> None:
        done = run("doctor", "--json", TRACEMILL_DATABASE_URL=empty_dsn)
        findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
        assert done.returncode == 1
        assert findings["migrations"]["state"] == "problem"
        assert findings["migrations"]["remedy"] == "tracemill db migrate"

        done = run("doctor", TRACEMILL_DATABASE_URL="")
        assert done.returncode == 1
        assert "tracemill db start" in done.stdout
        assert done.stderr == ""

    def test_rows_outside_their_months_are_a_problem(self, run: Run, dsn: str) -> None:
        from pipelines.database import connect

        with connect(dsn) as connection:
            connection.execute("insert into app.project_config (project_id, display_name) values ('p', 'p')")
            connection.execute(
                "insert into raw.tool_calls (project_id, tool_use_id, timestamp, execution_id, tool_name, status, "
                "source, source_file_key, source_offset) "
                "values ('p', 't', '1999-01-01', gen_random_uuid(), 'Bash', 'ok', 's', 'f', 0)"
            )
        done = run("doctor", "--json")
        findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
        assert done.returncode == 1
        assert findings["partitions"]["state"] == "problem"
        assert "tool_calls" in findings["partitions"]["detail"]

    def test_redaction_key_that_others_can_read(self, run: Run, sample: SampleTruth, tmp_path: Path) -> None:
        run("ingest", str(sample.folder))
        key = tmp_path / "home" / "redaction.key"
        key.chmod(0o644)
        done = run("doctor", "--json")
        findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
        assert findings["redaction key"]["remedy"] == f"chmod 600 {key}"
        assert done.returncode == 1
