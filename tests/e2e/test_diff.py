"""``tracemill diff`` as a person meets it: the change, the decision and the effect, each against hand-made rows."""

import json
from decimal import Decimal

import psycopg
import pytest

from pipelines.database import connect
from tests.e2e.test_cli import Run, run, says
from tests.evaluation_rows import MOMENT, Evaluation, add, add_evaluation, add_outcome, add_version

__all__ = ["run"]

YAML = ("model: small\ntemperature: 0.7\ntools:\n- search\n", "model: large\ntemperature: 0.7\nmax_steps: 9\n")
PARSED = (
    {"model": "small", "temperature": 0.7, "tools": ["search"]},
    {"model": "large", "temperature": 0.7, "max_steps": 9},
)


@pytest.fixture
def made(connection: psycopg.Connection) -> Evaluation:
    """Projects alpha and beta; ``planner`` of alpha has two versions, met by two scenarios, one of them by both."""
    connection.execute("select ops.ensure_month_partitions('2026-03-01', '2026-03-01')")
    for project in ("alpha", "beta"):
        add(connection, "app.project_config", project_id=project, display_name=project)
    made = add_evaluation(connection, "alpha")
    add_evaluation(connection, "beta", "secret of beta")
    config = add(connection, "raw.configurations", project_id="alpha", name="planner")["config_id"]
    versions = [
        add_version(connection, "alpha", config, text, parsed_config=parsed)
        for text, parsed in zip(YAML, PARSED, strict=True)
    ]
    add(
        connection, "raw.config_diffs", project_id="alpha", config_id=config, version_before=versions[0],
        number_before=1, version_after=versions[1], number_after=2, change_summary={},
        approval_status="approved", approved_by="ada", approved_at=MOMENT,
    )  # fmt: skip
    add(connection, "raw.scenarios", project_id="alpha", scenario_id="only_before", name="Only before")
    _outcomes(connection, versions[0], "book_a_flight", [("success", 0.2, True), ("error", None, None)])
    _outcomes(connection, versions[0], "only_before", [("success", 1, True)])
    _outcomes(connection, versions[1], "book_a_flight", [("success", 0.6, True), ("success", 0.8, False)])
    connection.commit()
    return made


def _outcomes(
    connection: psycopg.Connection,
    version: object,
    scenario: str,
    attempts: list[tuple[str, float | None, bool | None]],
) -> None:
    simulation = add(
        connection, "raw.simulations", project_id="alpha", config_version_id=version, status="completed",
        completed_at=MOMENT, source="test", source_key=f"{version} {scenario}",
    )["simulation_id"]  # fmt: skip
    add(
        connection, "raw.simulation_scenarios", project_id="alpha", simulation_id=simulation, scenario_id=scenario,
        execution_order=1,
    )  # fmt: skip
    run = Evaluation("alpha", None, (version, version), None, scenario, simulation, None, None, None)  # type: ignore[arg-type]
    for epoch, (status, score, is_passed) in enumerate(attempts, 1):
        add_outcome(
            connection, run, epoch=epoch, status=status, score_raw=score, is_passed=is_passed,
            execution_time_ms=1000 * epoch, cost_usd=Decimal("0.01"), cost_status="reported",
        )  # fmt: skip


def test_the_last_two_versions_in_words(run: Run, made: Evaluation) -> None:
    done = run("diff", "planner", "--project", "alpha")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--- version 1\n+++ version 2\n" in done.stdout
    assert "-model: small\n+model: large\n" in done.stdout
    assert 'changed  /model: "small" → "large"' in done.stdout
    assert "added    /max_steps: 9" in done.stdout
    assert 'removed  /tools: ["search"]' in done.stdout
    assert "Approval: approved by ada, 2026-03-01." in done.stdout
    assert "Effect on 1 shared scenarios: 1 better, 0 worse, 0 the same." in done.stdout


def test_json_has_the_same_and_scenarios_of_one_version_only_do_not_count(run: Run, made: Evaluation) -> None:
    found = json.loads(run("diff", "planner", "1", "2", "--project", "alpha", "--json").stdout)
    assert (found["before"]["version"], found["after"]["version"]) == (1, 2)
    assert found["change_summary"] == {
        "added": {"/max_steps": 9}, "removed": {"/tools": ["search"]}, "changed": {"/model": ["small", "large"]},
    }  # fmt: skip
    assert found["decision"]["status"] == "approved"
    effect = found["effect"]
    assert (effect["scenarios"], effect["better"], effect["worse"], effect["same"]) == (1, 1, 0, 0)
    before, after = effect["before"], effect["after"]
    assert (before["attempts"], before["failures"], before["judged"], before["passed"], before["scored"]) == (
        2,
        1,
        1,
        1,
        1,
    )
    assert (after["attempts"], after["failures"], after["judged"], after["passed"], after["scored"]) == (2, 0, 2, 1, 2)
    assert (before["mean_score"], after["mean_score"]) == (0.2, 0.7)
    assert (after["mean_ms"], after["mean_cost_usd"]) == (1500, 0.01)


def test_a_configuration_is_found_by_its_id_and_an_unmeasured_change_says_so(run: Run, made: Evaluation) -> None:
    done = run("diff", str(made.config), "--project", "alpha")
    assert "Approval: pending." in done.stdout
    assert "Effect: not measured" in done.stdout


def test_what_is_missing_is_told_with_what_there_is(run: Run, made: Evaluation, dsn: str) -> None:
    says(run("diff", "plan", "--project", "alpha"), 1, "no configuration 'plan' in project alpha", "planner")
    says(run("diff", "planner", "1", "7", "--project", "alpha"), 1, "no such versions: choose two of 1, 2")
    says(run("diff", "planner", "1", "--project", "alpha"), 2, "Give both versions, or none")
    says(run("diff", "planner", "2", "1", "--project", "alpha"), 2, "give the earlier version first")
    with connect(dsn) as owner:
        add(owner, "app.project_config", project_id="gamma", display_name="gamma")
        single = add(owner, "raw.configurations", project_id="alpha", name="single")["config_id"]
        add_version(owner, "alpha", single, "model: m")
    says(run("diff", "single", "--project", "alpha"), 1, "has one version only")
    says(run("diff", "planner", "--project", "gamma"), 1, "No configuration is in project gamma", "tracemill ingest")


def test_another_projects_configuration_is_not_there(run: Run, made: Evaluation) -> None:
    done = run("diff", "agent secret of beta", "--project", "alpha")
    says(done, 1, "There is no configuration")
    assert "agent secret of beta'" in done.stderr
    assert done.stderr.count("secret of beta") == 1, "the name that was typed, and no other"
