"""Optuna and MLflow stores from file to table: against what the tools themselves say, and twice."""

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from psycopg import sql

from pipelines import ingest
from pipelines.database import connect
from pipelines.ingest.report import IngestReport
from pipelines.samples import mlflow_stores, optuna_studies
from pipelines.samples.optimizations import RunTruth
from pipelines.settings import Settings

_TABLES = ("optimization_runs", "optimization_iterations", "optimization_samples")


@pytest.fixture
def truth(corpus: Path) -> dict[str, Any]:
    """What MlflowClient and Optuna say of the corpus."""
    found: dict[str, Any] = json.loads((corpus / "ground_truth" / "mlflow_optuna.json").read_bytes())
    return found


@pytest.fixture
def mlflow_copy(corpus: Path, tmp_path: Path) -> Path:
    """The corpus store in a folder of the test's own."""
    folder = tmp_path / "tuning"
    shutil.copytree(corpus / "optuna_or_mlflow" / "mlflow_3.17.2", folder, copy_function=shutil.copyfile)
    return folder


def test_a_miprov2_study_equals_what_optuna_says_and_its_best_is_the_full_score(
    corpus: Path, truth: dict[str, Any], dsn: str, settings: Settings
) -> None:
    study = corpus / "optuna_or_mlflow" / "miprov2_optuna_study.db"
    report = _ingest(dsn, settings, study)
    assert not report.problems
    rows = _rows(
        dsn, "select iteration, score_raw, params, metadata ->> 'state' from raw.optimization_iterations order by 1"
    )
    assert rows == [
        (trial["number"], trial["value"], trial["params"], trial["state"]) for trial in truth["optuna"]["trials"]
    ]
    assert _rows(
        dsn,
        """
        select run_name, score_direction, final_score_raw, best_score_raw, best_iteration, best_evaluation_kind,
            full_evaluations
        from raw.optimization_runs
        """,
    ) == [(truth["optuna"]["study_name"], "maximize", 90, 90, 8, "full", 4)]
    assert truth["optuna"]["best_value"] == 100.0
    _changes_nothing(dsn, settings, study)


def test_an_mlflow_store_equals_what_its_client_says(
    truth: dict[str, Any], mlflow_copy: Path, dsn: str, settings: Settings
) -> None:
    report = _ingest(dsn, settings, mlflow_copy)
    assert not report.problems
    said = {run["run_id"]: run for run in truth["runs"]}
    roots = {key for key, run in said.items() if run["parent"] is None}
    runs = {
        row[0]: row[1:]
        for row in _rows(
            dsn,
            """
            select source_key, run_name, status, task, extract(epoch from start_time) * 1000,
                extract(epoch from end_time) * 1000, metadata -> 'metrics', config
            from raw.optimization_runs
            """,
        )
    }
    assert runs.keys() == roots
    for key, (name, status, task, start, end, metrics, config) in runs.items():
        run = said[key]
        assert (name, status, task, start, end) == (
            run["run_name"], "completed", run["experiment"], run["start_time"], run["end_time"],
        )  # fmt: skip
        assert (metrics or {}) == run["metrics"]
        assert len(config.keys() - {"model_config"}) == run["n_params"]
    children = _rows(
        dsn,
        """
        select i.metadata ->> 'run_id', r.source_key, i.metadata ->> 'run_name', i.score_raw, i.evaluation_kind,
            extract(epoch from i.iteration_start_time) * 1000, (select count(*) from jsonb_object_keys(i.params))
        from raw.optimization_iterations as i join raw.optimization_runs as r on r.id = i.run_id
        where i.metadata ->> 'run_id' <> r.source_key
        """,
    )
    assert {row[0]: row[1:] for row in children} == {
        key: (
            run["parent"], run["run_name"], run["metrics"]["eval"],
            "minibatch" if run["run_name"].startswith("eval_minibatch") else "full", run["start_time"], run["n_params"],
        )
        for key, run in said.items()
        if run["parent"] is not None
    }  # fmt: skip
    _changes_nothing(dsn, settings, mlflow_copy)


def test_samples_of_result_tables_add_up_to_the_scores(mlflow_copy: Path, dsn: str, settings: Settings) -> None:
    _ingest(dsn, settings, mlflow_copy)
    tables = sorted(mlflow_copy.rglob("result_table.json"))
    written = Counter[str]()
    for table in tables:
        written[table.parent.parent.name] = len(json.loads(table.read_bytes())["data"])
    rows = _rows(
        dsn,
        """
        select i.metadata ->> 'run_id', i.score_raw, count(*), round(100 * avg(s.score_raw), 2)
        from raw.optimization_iterations as i
        join raw.optimization_samples as s using (project_id, run_id, iteration)
        group by i.project_id, i.run_id, i.iteration
        """,
    )
    assert {row[0]: row[2] for row in rows} == written
    assert all(score == mean for _, score, _, mean in rows)


def test_a_result_table_that_changes_is_read_again(mlflow_copy: Path, dsn: str, settings: Settings) -> None:
    _ingest(dsn, settings, mlflow_copy)
    table = next(mlflow_copy.rglob("9ff71313d5ff4b66b2af15b23f4a15bd/artifacts/result_table.json"))
    table.write_bytes(table.read_bytes()[:500])
    report = _ingest(dsn, settings, mlflow_copy)
    assert report.quarantined == 1
    assert "result_table.json of run 'eval_full_3' is not what MLflow logs" in report.problems[0].detail
    _changes_nothing(dsn, settings, mlflow_copy)


def test_sample_stores_equal_their_truth(tmp_path: Path, dsn: str, settings: Settings) -> None:
    pair = ("storefront", "ledger-api")
    told = [
        *optuna_studies.write(tmp_path / "logs", projects=pair).runs,
        *mlflow_stores.write(tmp_path / "logs", projects=pair).runs,
    ]
    report = _ingest(dsn, settings, tmp_path / "logs", project=None)
    assert not report.problems
    rows = _rows(
        dsn,
        """
        select r.project_id, r.run_name, r.optimizer_type, r.status, r.task, r.model, r.start_time, r.initial_score_raw,
            r.final_score_raw, r.iterations, r.full_evaluations, count(s.id), count(s.id) filter (where s.is_correct)
        from raw.optimization_runs as r
        left join raw.optimization_samples as s on s.project_id = r.project_id and s.run_id = r.id
        group by r.project_id, r.id
        """,
    )
    assert Counter(_plain(row) for row in rows) == Counter(_plain(_expected(run)) for run in told)


def test_steps_beyond_the_numbers_of_iterations_are_counted(tmp_path: Path, dsn: str, settings: Settings) -> None:
    mlflow_stores.write(tmp_path / "logs", projects=("storefront",))
    metrics = [path for path in (tmp_path / "logs").glob("*/mlruns/*/*/metrics/*") if _is_history(path)]
    assert metrics
    for path in metrics:
        values = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{at} {value} {int(step) + 3_000_000_000}\n" for at, value, step in values))
    assert not _ingest(dsn, settings, tmp_path / "logs").problems
    rows = _rows(
        dsn,
        "select iteration, (metadata ->> 'step')::bigint - 3000000000 from raw.optimization_iterations "
        "where metadata ? 'step' order by run_id, iteration",
    )
    assert len(rows) > 2
    assert [iteration for iteration, _ in rows] == list(range(len(rows)))
    assert sorted(step for _, step in rows) == [step for _, step in rows]


def _is_history(path: Path) -> bool:
    return len(path.read_text().splitlines()) > 2


def test_an_older_copy_of_a_store_takes_nothing_back(tmp_path: Path, dsn: str, settings: Settings) -> None:
    folder = tmp_path / "tuning"
    folder.mkdir()
    study = optuna.create_study(storage=f"sqlite:///{folder / 'study.db'}", study_name="study", direction="maximize")
    study.optimize(lambda trial: 0.25, n_trials=2)
    shutil.copyfile(folder / "study.db", folder / "study_backup.db")
    os.utime(folder / "study_backup.db", (1_760_000_000, 1_760_000_000))
    study.optimize(lambda trial: 0.75, n_trials=1)
    assert not _ingest(dsn, settings, folder).problems
    assert _rows(
        dsn, "select iterations, final_score_raw, best_score_raw, metadata -> 'trials' from raw.optimization_runs"
    ) == [(3, 0.75, 0.75, {"COMPLETE": 3})]


def test_a_store_that_is_cut_or_newer_is_refused_whole_and_the_others_are_loaded(
    mlflow_copy: Path, dsn: str, settings: Settings
) -> None:
    folder = mlflow_copy.parent
    for name in ("newer", "cut"):
        (folder / name).mkdir()
    shutil.copyfile(mlflow_copy / "mlflow.db", folder / "newer" / "mlflow.db")
    with sqlite3.connect(folder / "newer" / "mlflow.db") as store:
        store.execute("update alembic_version set version_num = 'ffffffffffff'")
    store.close()
    content = (mlflow_copy / "mlflow.db").read_bytes()
    (folder / "cut" / "mlflow.db").write_bytes(content[: len(content) // 2])
    report = _ingest(dsn, settings, folder)
    problems = {Path(problem.path).parent.name: problem.detail for problem in report.problems}
    assert problems.keys() == {"newer", "cut"}
    assert "MLflow newer than the one installed" in problems["newer"]
    assert "damaged or was cut short" in problems["cut"]
    assert _rows(dsn, "select count(*) from raw.optimization_runs") == [(8,)]


@pytest.fixture
def storage_url(dsn: str) -> Iterator[str]:
    """An Optuna storage on a server, for a role that may only read it."""
    import optuna

    address = psycopg.conninfo.conninfo_to_dict(dsn)
    with connect(dsn, autocommit=True) as admin:
        admin.execute("create schema optuna")
        admin.execute(sql.SQL("alter database {} set search_path to optuna").format(sql.Identifier(address["dbname"])))
        admin.execute("create role tuner login password 'hunter2hunter2'")
    place = f"/{address['dbname']}?host={address['host']}"
    writer = f"postgresql://{address['user']}@{place}"
    study = optuna.create_study(storage=writer, study_name="on-a-server")
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
    with connect(dsn, autocommit=True) as admin:
        admin.execute("grant usage on schema optuna to tuner")
        admin.execute("grant select on all tables in schema optuna to tuner")
    yield f"postgresql://tuner:hunter2hunter2@{place}"
    with connect(dsn, autocommit=True) as admin:
        admin.execute("drop owned by tuner")
        admin.execute("drop role tuner")


def test_a_storage_on_a_server_is_read_by_a_role_that_may_only_read(
    storage_url: str, dsn: str, settings: Settings
) -> None:
    for expected in ((1, 3), (0, 0)):
        report = ingest.run([], dsn=dsn, settings=settings, storages=[storage_url], project="tuning")
        assert not report.problems
        assert tuple(report.records[table].inserted for table in _TABLES[:2]) == expected
    assert _rows(dsn, "select run_name, iterations from raw.optimization_runs") == [("on-a-server", 3)]
    assert "hunter2hunter2" not in str(_rows(dsn, "select path from ops.ingest_files"))


def test_a_server_that_does_not_answer_is_named_without_its_password(dsn: str, settings: Settings) -> None:
    url = "postgresql://tuner:hunter2hunter2@127.0.0.1:9/tuning"
    report = ingest.run([], dsn=dsn, settings=settings, storages=[url])
    assert "cannot be read" in report.problems[0].detail
    assert "hunter2hunter2" not in str(report.problems)


def _ingest(dsn: str, settings: Settings, path: Path, project: str | None = "tuning") -> IngestReport:
    return ingest.run([path], dsn=dsn, settings=settings, project=project)


def _changes_nothing(dsn: str, settings: Settings, path: Path) -> None:
    """Neither when the ledger knows the files, nor when they are merged once more."""
    again = _ingest(dsn, settings, path)
    assert set(+again.files_by_state) <= {"unchanged", "unrecognised"}
    with connect(dsn) as admin:
        admin.execute("delete from ops.quarantined_records")
        admin.execute("delete from ops.ingest_files")
        admin.commit()
    merged = _ingest(dsn, settings, path)
    changes = [(merged.records[table].inserted, merged.records[table].updated) for table in _TABLES]
    assert changes == [(0, 0)] * 3
    assert merged.records["optimization_runs"].unchanged > 0


def _rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with connect(dsn) as admin:
        return [tuple(_number(value) for value in row) for row in admin.execute(query)]


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _expected(run: RunTruth) -> tuple[Any, ...]:
    return (
        run.project, run.name, run.optimizer_type, run.status, run.task, run.model, run.start_time, run.initial,
        run.final, run.iterations, run.full_evaluations, run.samples, run.correct,
    )  # fmt: skip


def _plain(row: tuple[Any, ...]) -> str:
    return repr(tuple(float(value) if isinstance(value, int) else value for value in row))
