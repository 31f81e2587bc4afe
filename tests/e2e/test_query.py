"""``tracemill query`` as a person meets it: answers in every form, and what the database refuses, as a sentence."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipelines.database import connect
from pipelines.samples import SampleTruth
from tests.e2e.test_cli import Run, run, sample, says

__all__ = ["run", "sample"]


@contextmanager
def while_it_sleeps(dsn: str, call: str) -> Iterator[None]:
    """Meanwhile, somebody calls the function ``call`` on the backend that sleeps in this database."""
    strike = (
        f"select {call}(pid) from pg_stat_activity "
        "where wait_event = 'PgSleep' and datname = current_database() and pid <> pg_backend_pid()"
    )

    def interfere() -> None:
        with connect(dsn, autocommit=True) as other:
            while not ended.wait(0.05) and not other.execute(strike).fetchone():
                pass

    ended = threading.Event()
    somebody = threading.Thread(target=interfere)
    somebody.start()
    try:
        yield
    finally:
        ended.set()
        somebody.join()


class TestQuery:
    @pytest.fixture
    def ingested(self, run: Run, sample: SampleTruth) -> Run:
        run("ingest", str(sample.folder))
        return run

    def test_project_must_be_chosen_among_several(self, ingested: Run, sample: SampleTruth) -> None:
        says(ingested("query", "select 1"), 1, "--project", *sample.projects)
        says(ingested("query", "select 1", "--project", "nobody"), 1, "no project 'nobody'", *sample.projects)

    def test_without_any_project_ingest_is_named(self, run: Run) -> None:
        says(run("query", "select 1"), 1, "tracemill ingest")

    def test_json_keeps_numbers_and_times(self, ingested: Run, sample: SampleTruth) -> None:
        done = ingested(
            "query", "--json", "--project", "storefront",
            "select sum(output_tokens) as tokens, 0.1::numeric + 12345678901234567890.12345 as exact, "
            "timestamptz '2026-01-02 03:04:05+02' as at, null as nothing, 'infinity'::timestamptz as never, "
            "'NaN'::float8 as nan, jsonb_build_object('a', 1) as tree, array[1, 2] as list "
            "from model_requests where kind = 'response'",
        )  # fmt: skip
        answer = json.loads(done.stdout, parse_float=str)
        assert done.stderr == ""
        assert answer["columns"] == ["tokens", "exact", "at", "nothing", "never", "nan", "tree", "list"]
        assert answer["row_count"] == 1
        (row,) = answer["rows"]
        assert int(row[0]) == sample.total_usage(project="storefront").output_tokens
        assert row[1:] == [
            *("12345678901234567890.22345", "2026-01-02T01:04:05Z", None, "infinity", None, {"a": 1}, [1, 2])
        ]

    def test_csv_and_table(self, ingested: Run) -> None:
        statement = "select * from (values (1, 'a,b'), (20, null)) as t (number, text)"
        done = ingested("query", "--csv", "--project", "storefront", statement)
        assert list(csv.reader(io.StringIO(done.stdout))) == [["number", "text"], ["1", "a,b"], ["20", ""]]
        table = ingested("query", "--project", "storefront", statement)
        assert table.stdout == "number  text\n------  ----\n     1  a,b\n    20\n"
        assert table.stderr == "2 rows\n"

    @pytest.mark.parametrize(
        ("statement", "words"),
        [
            ("select * from no_such_table", ["no_such_table", "does not exist", "line 1, column 15"]),
            ("select 1\n  frm x y", ["yntax error", "line 2"]),
            ("select 1; select 2", ["One statement at a time"]),
            ("delete from model_requests", ["Only statements that return rows"]),
            ("update model_requests set model = 'x' returning 1", ["Only statements that return rows"]),
            ("select * from ops.ingest_files", ["ermission denied"]),
            ("", ["empty"]),
            ("select 1 where $1", ["`$1` is a parameter", "write the value"]),
            ("select '$2' where $1", ["`$1` is a parameter", "write the value"]),
            (f"select {', '.join(['1'] * 1700)}", ["Error: Target lists can have at most 1664 entries."]),
            ("select lastval()", ["Error: Lastval is not yet defined in this session."]),
        ],
    )
    def test_errors_are_a_sentence_with_the_place(self, ingested: Run, statement: str, words: list[str]) -> None:
        done = ingested("query", statement, "--project", "storefront")
        says(done, 1, "Error:", *words)
        assert done.stderr.count("\n") == 1

    def test_time_limit(self, ingested: Run) -> None:
        says(ingested("query", "select pg_sleep(20)", "--project", "storefront", "--timeout", "1"), 1, "--timeout")

    def test_a_statement_that_somebody_else_cancels_is_no_timeout(self, ingested: Run, dsn: str) -> None:
        with while_it_sleeps(dsn, "pg_cancel_backend"):
            done = ingested("query", "select pg_sleep(20)", "--project", "storefront")
        says(done, 1, "The statement was cancelled by somebody else (canceling statement due to user request)", "again")
        assert "--timeout" not in done.stderr

    def test_a_connection_that_somebody_else_ends_is_lost(self, ingested: Run, dsn: str) -> None:
        with while_it_sleeps(dsn, "pg_terminate_backend"):
            done = ingested("query", "select pg_sleep(20)", "--project", "storefront")
        says(done, 1, "The connection to the database was lost")

    def test_values_that_python_cannot_hold_stay_text(self, ingested: Run) -> None:
        texts = {
            "'infinity'::date": "infinity",
            "'0044-03-15 BC'::date": "0044-03-15 BC",
            "timestamp '10000-01-01'": "10000-01-01 00:00:00",
            "timestamptz '10000-01-01'": "10000-01-01 00:00:00+00",
            "time '24:00'": "24:00:00",
            "timetz '24:00+02'": "24:00:00+02",
            "interval '1000000000 days'": "1000000000 days",
            "daterange('2026-01-01', 'infinity')": "[2026-01-01, infinity)",
            "tsrange('2026-01-01', 'infinity')": "[2026-01-01 00:00:00, infinity)",
            "array['infinity'::date, '2026-01-02', null]": ["infinity", "2026-01-02", None],
        }
        done = ingested("query", "--json", "--project", "storefront", f"select {', '.join(texts)}")
        assert done.stderr == ""
        assert json.loads(done.stdout)["rows"] == [list(texts.values())]

    def test_values_that_python_can_hold_are_written_as_ever(self, ingested: Run) -> None:
        done = ingested(
            "query", "--json", "--project", "storefront",
            "select date '2026-01-02', timestamp '2026-01-02 03:04', time '03:04', timetz '03:04+02', interval '90 s'",
        )  # fmt: skip
        assert json.loads(done.stdout)["rows"] == [
            ["2026-01-02", "2026-01-02T03:04:00", "03:04:00", "03:04:00+02:00", "PT90S"]
        ]

    def test_two_forms_at_once(self, ingested: Run) -> None:
        says(ingested("query", "select 1", "--json", "--csv"), 2, "one of --json and --csv")

    def test_explain_and_show(self, ingested: Run) -> None:
        assert "Scan" in ingested("query", "explain select * from model_requests", "--project", "storefront").stdout
        assert "UTC" in ingested("query", "show timezone", "--project", "storefront").stdout
