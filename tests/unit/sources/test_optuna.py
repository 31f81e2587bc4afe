"""Optuna studies written by Optuna itself, read back."""

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from pipelines.sources import optuna as reader
from pipelines.sources.documents import Document, identify
from pipelines.sources.outputs import Iteration, Record, Run, Unreadable
from pipelines.sources.records import BadLine
from pipelines.sources.sqlite_files import snapshot

BEGIN = datetime(2026, 10, 1, 8)  # noqa: DTZ001  (Optuna's own times have no zone)
NUMBERS = optuna.distributions.FloatDistribution(-10, 10)
CHOICES = optuna.distributions.CategoricalDistribution(("short", None, 3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "optuna.db"


@pytest.fixture
def create(path: Path) -> Iterator[Callable[..., optuna.Study]]:
    """Makes studies in the file at ``path``."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    yield lambda name="study", **options: optuna.create_study(storage=storage, study_name=name, **options)
    storage.remove_session()
    storage.engine.dispose()


def test_params_are_the_choices_made_not_their_indexes(create: Callable[..., optuna.Study], path: Path) -> None:
    _add(create(), params={"style": None, "x": 1.5}, distributions={"style": CHOICES, "x": NUMBERS}, value=0.5)
    run, iteration = _read(path)
    assert isinstance(run, Run)
    assert isinstance(iteration, Iteration)
    assert iteration.params == {"style": None, "x": 1.5}
    assert run.search_space is not None
    assert run.search_space["style"]["attributes"]["choices"] == ["short", None, 3]


def test_only_trials_that_ran_to_their_end_have_a_score(create: Callable[..., optuna.Study], path: Path) -> None:
    study = create(direction="minimize")
    _add(study, value=0.5)
    _add(study, value=0.1, state=TrialState.PRUNED, intermediate_values={0: 0.3, 1: 0.1})
    _add(study, value=None, state=TrialState.FAIL, system_attrs={"fail_reason": "RuntimeError: no answer"})
    _add(study, value=float("inf"))
    run, *iterations = _read(path)
    assert isinstance(run, Run)
    assert [(i.score_raw, i.metadata["state"]) for i in _iterations(iterations)] == [
        (0.5, "COMPLETE"), (None, "PRUNED"), (None, "FAIL"), (None, "COMPLETE"),
    ]  # fmt: skip
    assert _iterations(iterations)[1].metadata["intermediate_values"] == {"0": 0.3, "1": 0.1}
    assert _iterations(iterations)[2].metadata["system_attrs"] == {"fail_reason": "RuntimeError: no answer"}
    assert (run.final_score_raw, run.score_direction, run.status) == (0.5, "minimize", "completed")


def test_a_study_with_an_open_trial_is_running_and_has_no_end(create: Callable[..., optuna.Study], path: Path) -> None:
    study = create()
    _add(study, value=0.5)
    study.ask()
    run, *iterations = _read(path)
    assert isinstance(run, Run)
    assert (run.status, run.end_time, len(iterations)) == ("running", None, 2)


def test_a_study_whose_trials_all_failed_has_failed(create: Callable[..., optuna.Study], path: Path) -> None:
    _add(create(), value=None, state=TrialState.FAIL)
    run, _ = _read(path)
    assert isinstance(run, Run)
    assert run.status == "failed"


def test_a_study_that_has_not_begun_is_left_out(create: Callable[..., optuna.Study], path: Path) -> None:
    create().enqueue_trial({"x": 1})
    assert _read(path) == []


def test_several_objectives_give_no_score_but_all_values(create: Callable[..., optuna.Study], path: Path) -> None:
    _add(create(directions=["maximize", "minimize"]), value=None, values=[0.9, 120.0])
    run, iteration = _read(path)
    assert isinstance(run, Run)
    assert isinstance(iteration, Iteration)
    assert (iteration.score_raw, iteration.metadata["values"]) == (None, [0.9, 120.0])
    assert (run.final_score_raw, run.best_params) == (None, None)
    assert run.config["directions"] == ["maximize", "minimize"]


def test_a_minibatch_score_is_never_the_best_of_a_miprov2_study(
    create: Callable[..., optuna.Study], path: Path
) -> None:
    study = create(direction="maximize")
    for params, value, seconds in (((0, 0), 55.0, 0), ((1, 0), 100.0, 30), ((2, 1), 62.5, 30), ((1, 0), 90.0, 0)):
        _add_mipro(study, params, value, seconds)
    run, *iterations = _read(path)
    assert isinstance(run, Run)
    assert [i.evaluation_kind for i in _iterations(iterations)] == ["full", "minibatch", "minibatch", "full"]
    assert (run.optimizer_type, run.initial_score_raw, run.final_score_raw) == ("miprov2", 55.0, 90.0)
    assert run.score_scale == (0.0, 100.0)
    keys = [i.candidate_key for i in _iterations(iterations)]
    assert keys[1] == keys[3] != keys[2]


def test_a_miprov2_study_without_minibatches_is_all_full(create: Callable[..., optuna.Study], path: Path) -> None:
    study = create(direction="maximize")
    for params, value, seconds in (((0, 0), 55.0, 0), ((1, 0), 80.0, 30), ((2, 1), 62.5, 30)):
        _add_mipro(study, params, value, seconds)
    run, *iterations = _read(path)
    assert isinstance(run, Run)
    assert {i.evaluation_kind for i in _iterations(iterations)} == {"full"}
    assert run.final_score_raw == 80.0


def test_a_study_keeps_its_key_in_a_copy_and_shares_it_with_no_namesake(
    create: Callable[..., optuna.Study], path: Path, tmp_path: Path
) -> None:
    _add(create(), value=0.5)
    shutil.copyfile(path, tmp_path / "copy.db")
    other = optuna.create_study(storage=f"sqlite:///{tmp_path / 'other.db'}", study_name="study")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    keys = [_keys(tmp_path / name) for name in ("optuna.db", "copy.db", "other.db")]
    assert keys[0] == keys[1] != keys[2]


def test_a_trial_with_damaged_params_is_told_of_and_the_others_are_read(
    create: Callable[..., optuna.Study], path: Path
) -> None:
    study = create()
    for value in (0.1, 0.2, 0.3):
        _add(study, value=value, params={"x": value}, distributions={"x": NUMBERS})
    with closing(sqlite3.connect(path)) as store:
        store.execute("update trial_params set distribution_json = '{\"na' where trial_id = 2")
        store.commit()
    records = _read(path)
    bad = [record for record in records if isinstance(record, BadLine)]
    assert [record.iteration for record in records if isinstance(record, Iteration)] == [0, 2]
    assert len(bad) == 1
    assert "Trial 1 of study 'study' cannot be read" in bad[0].detail


def test_choices_that_json_lacks_are_read(create: Callable[..., optuna.Study], path: Path) -> None:
    study = create()
    choices = optuna.distributions.CategoricalDistribution((float("inf"), "\ud800"))
    for choice in choices.choices:
        _add(study, value=0.5, params={"c": choice}, distributions={"c": choices}, user_attrs={"said": "\ud800"})
    run, *iterations = _read(path)
    assert isinstance(run, Run)
    assert run.search_space is not None
    assert run.search_space["c"]["attributes"]["choices"] == ["inf", "\ufffd"]
    assert [i.params for i in _iterations(iterations)] == [{"c": "inf"}, {"c": "\ufffd"}]
    assert _iterations(iterations)[0].metadata["user_attrs"] == {"said": "\ufffd"}


def test_a_study_with_a_damaged_attribute_is_refused_with_a_sentence(
    create: Callable[..., optuna.Study], path: Path
) -> None:
    study = create()
    study.set_user_attr("note", "x")
    _add(study, value=0.5)
    with closing(sqlite3.connect(path)) as store:
        store.execute("update study_user_attributes set value_json = '{'")
        store.commit()
    with pytest.raises(Unreadable, match="cannot read its own studies"):
        _read(path)


def test_a_study_that_is_being_written_is_read_as_it_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    with closing(sqlite3.connect(path)) as store:
        store.execute("pragma journal_mode = wal")
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    _add(optuna.create_study(storage=storage, study_name="live"), value=0.5)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("update trial_values set value = 0.9")
        assert path.with_name("optuna.db-wal").stat().st_size > 0
        before = path.read_bytes()
        assert identify(path.with_name("optuna.db-wal"), b"") == "optuna"
        assert reader.root(path.with_name("optuna.db-wal")) == path
        assert [i.score_raw for i in _iterations(_read(path)[1:])] == [0.5]
        assert path.read_bytes() == before
        writer.rollback()
    storage.remove_session()
    storage.engine.dispose()


def test_a_file_whose_writer_does_not_let_go_is_refused_with_a_sentence(
    create: Callable[..., optuna.Study], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.sources.sqlite_files._BUSY_SECONDS", 0.1)
    _add(create(), value=0.5)
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("begin exclusive")
        assert identify(path, path.read_bytes()[:4096]) == "optuna"
        with pytest.raises(Unreadable, match="Another process is writing"):
            _read(path)


def test_an_older_schema_is_upgraded_in_the_copy_alone(create: Callable[..., optuna.Study], path: Path) -> None:
    _add(create(), value=0.5)
    with closing(sqlite3.connect(path)) as store:
        # Of 3.2 back to 3.0: the column that the last step added is taken away.
        store.execute("alter table trial_intermediate_values drop column intermediate_value_type")
        store.execute("update alembic_version set version_num = 'v3.0.0.b'")
        store.commit()
    before = path.read_bytes()
    try:
        assert [i.score_raw for i in _iterations(_read(path)[1:])] == [0.5]
    finally:
        assert path.read_bytes() == before


def test_a_newer_schema_is_refused_with_a_sentence(create: Callable[..., optuna.Study], path: Path) -> None:
    _add(create(), value=0.5)
    with closing(sqlite3.connect(path)) as store:
        store.execute("update alembic_version set version_num = 'v99.0.0.a'")
        store.commit()
    with pytest.raises(Unreadable, match="newer than the one installed; pip install -U optuna"):
        _read(path)


def test_without_the_library_the_sentence_names_what_to_install(
    create: Callable[..., optuna.Study], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add(create(), value=0.5)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(Unreadable, match=r"pip install 'tracemill\[optuna\]'"):
        _read(path)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql://tuner@localhost/studies", "driver that is not installed"),
        ("nonsense://tuner@localhost/studies", "cannot be read"),
        ("postgresql://tuner@127.0.0.1:9/studies", "cannot be read"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_with_a_sentence(url: str, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        list(reader.read_storage(url))


def test_a_database_of_something_else_is_left_to_others(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as store:
        store.execute("create table trials (a)")
    assert not reader.matches(path, path.read_bytes())
    assert not reader.matches(tmp_path / "absent.db", b"SQLite format 3\x00")


@pytest.fixture(scope="module")
def study_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("studies") / "optuna.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="fuzzed")
    for value in (0.1, 0.2):
        _add(study, value=value, params={"x": value}, distributions={"x": NUMBERS})
    with snapshot(path) as copy:
        return copy.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_gives_records_or_a_sentence_never_an_error(data: st.DataObject, study_bytes: bytes, path: Path) -> None:
    content = bytearray(study_bytes)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(100, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path.write_bytes(bytes(content[:end]))
    reader.matches(path, bytes(content[:4096]))
    try:
        _read(path)
    except Unreadable as refused:
        assert str(refused).endswith(".")


def _add(
    study: optuna.Study, *, value: float | None, state: TrialState = TrialState.COMPLETE, **fields: object
) -> None:
    study.add_trial(
        FrozenTrial(
            **{  # type: ignore[arg-type]
                "number": -1, "trial_id": -1, "state": state, "value": value, "datetime_start": BEGIN,
                "datetime_complete": BEGIN.replace(minute=1), "params": {}, "distributions": {}, "user_attrs": {},
                "system_attrs": {}, "intermediate_values": {}, **fields,
            }
        )
    )  # fmt: skip


def _add_mipro(study: optuna.Study, choices: tuple[int, int], value: float, seconds: int) -> None:
    names = ("0_predictor_instruction", "0_predictor_demos")
    _add(
        study, value=value, params=dict(zip(names, choices, strict=True)),
        distributions=dict.fromkeys(names, optuna.distributions.CategoricalDistribution(range(4))),
        datetime_complete=BEGIN.replace(second=seconds),
    )  # fmt: skip


def _read(path: Path) -> list[Record]:
    return list(reader.read(Document(path, datetime.now(UTC))))


def _iterations(records: list[Record]) -> list[Iteration]:
    return [record for record in records if isinstance(record, Iteration)]


def _keys(path: Path) -> list[str]:
    return [record.key for record in _read(path) if isinstance(record, Run)]
