"""400 days in the life of a warehouse, the clock moved day by day, every job at its time.

Data arrive each day; late data, an old log that is read again, and a writer that makes no partitions come in between.
What was ever written is noted apart, in the transaction that wrote it: archive and tables are held against that, marts
against a build from scratch, and the catalogue is asked each day.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time, timedelta

import dagster as dg
import psycopg
import pyarrow.dataset
import pytest
from dbt.cli.main import dbtRunner
from psycopg.types.json import Jsonb

from pipelines.database import connect
from pipelines.maintenance import aggregation, dagster_events, dbt, jobs, restore
from pipelines.maintenance.lock import maintenance_lock
from tests import evaluation_rows, history, marts, optimization, raw_rows
from tests.dagster_world import World, dagster_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

FIRST, DAYS = date(2025, 9, 1), 400
PROJECTS = ("project-1", "project-2")
NIGHTS = range(0, DAYS, 19)
DAGSTER_NIGHTS = NIGHTS[1::6]
LATE = {130: 10, 200: 95, 260: 180, 330: 300}
"""Day on which late data come → how many days old they are."""
READ_AGAIN = {280: 240}
"""Day on which a log is read once more → how many days old it is; its rows are in the archive by then."""
CARELESS = {150: date(2024, 5, 10)}
"""Day on which somebody writes rows without making their partition → day of the rows."""

KEYS = {
    "raw.command_executions": "id",
    "raw.model_requests": "request_key",
    "raw.tool_calls": "tool_use_id",
    "raw.outcomes": "outcome_id",
    "raw.tool_usage": "concat_ws(':', outcome_id, call_number)",
    "raw.failure_patterns": "pattern_id",
    "raw.recommendations": "recommendation_id",
    "raw.optimization_samples": "concat_ws(':', run_id, iteration, sample_index)",
    "audit.audit_log": "log_id",
}


@pytest.fixture
def world(
    migrated_database: Callable[[], AbstractContextManager[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with dagster_world(migrated_database, tmp_path_factory.mktemp("year"), days=1, size_bytes=20_000) as made:
        yield made


class Year:
    """The warehouse, its clock, and what was written to it."""

    def __init__(self, world: World, connection: psycopg.Connection, instance: dg.DagsterInstance) -> None:
        from pipelines.definitions import defs

        self.world, self.connection, self.instance, self.definitions = world, connection, instance, defs
        self.evaluation: evaluation_rows.Evaluation | None = None
        connection.execute("create schema ledger")
        connection.execute(
            "create table ledger.written (relation text, project_id text, key text, row_text text, "
            "primary key (relation, project_id, key))"
        )
        optimization.register(connection, *PROJECTS)
        connection.execute(
            "update app.project_config set settings = %s where project_id = 'project-1'",
            [Jsonb({"retention": {"outcomes": 100}})],
        )
        self._note()
        connection.commit()

    def arrive(self, number: int) -> None:
        """Writes what comes on a day and notes it, in one transaction."""
        day = FIRST + timedelta(days=number)
        self._executions(day)
        if number in LATE:
            self._executions(day - timedelta(days=LATE[number]), seed="late")
        if number in READ_AGAIN:
            self._executions(day - timedelta(days=READ_AGAIN[number]))
        if number in CARELESS:
            self._write_carelessly(CARELESS[number])
        if number == 3:
            self._samples(day)
        if number % 7 == 0 and number > 180:
            self._outcomes(day)
        if day.day == 1:
            history.make_audit_month(self.connection, day)
            for project in PROJECTS:
                history.add_audit_entries(self.connection, project, day)
        self._note()
        self.connection.commit()

    def _note(self) -> None:
        """Notes what this transaction has written."""
        for relation, key in KEYS.items():
            self.connection.execute(
                f"insert into ledger.written select %s, project_id, {key}, t::text from {relation} as t "
                "where t.xmin = pg_current_xact_id()::xid "
                "on conflict (relation, project_id, key) do update set row_text = excluded.row_text",
                [relation],
            )

    def _executions(self, day: date, seed: str = "") -> None:
        raw_rows.insert(self.connection, raw_rows.Volume(day, 1, 4, patterns=8, projects=len(PROJECTS)), seed=seed)
        # The reaper would close these by the real clock.
        self.connection.execute("update raw.command_executions set status = 'failed' where status = 'pending'")

    def _write_carelessly(self, day: date) -> None:
        self.connection.execute(
            """
            insert into raw.tool_calls (
                project_id, tool_use_id, timestamp, session_id, execution_id, tool_name, status,
                source, source_file_key, source_offset
            )
            select project_id, 'careless ' || tool_use_id, %s::date + interval '12 hours', session_id, execution_id,
                tool_name, status, source, source_file_key, source_offset
            from raw.tool_calls order by tool_use_id limit 5
            """,
            [day],
        )
        self.connection.execute(
            "insert into ops.touched_days (project_id, activity_date) "
            "select distinct project_id, %s::date from raw.tool_calls where tool_use_id like 'careless%%'",
            [day],
        )

    def _samples(self, day: date) -> None:
        run = optimization.add_run(self.connection, project_id="project-1")
        iteration = optimization.iteration_row(run, optimization.Iteration(1, score=50))
        optimization.insert(self.connection, "optimization_iterations", [{**iteration, "project_id": "project-1"}])
        self.connection.execute(
            "insert into raw.optimization_samples (project_id, run_id, iteration, sample_index, score_raw, created_at) "
            "select 'project-1', %s, 1, n, 0.10, %s::date + interval '5 hours' from generate_series(1, 20) as n",
            [run, day],
        )

    def _outcomes(self, day: date) -> None:
        if self.evaluation is None:
            self.connection.execute("select ops.ensure_month_partitions(%s, %s)", [evaluation_rows.MOMENT.date()] * 2)
            self.evaluation = evaluation_rows.add_evaluation(self.connection, "project-1")
        evaluation_rows.add_outcome(
            self.connection, self.evaluation, execution_time=datetime.combine(day, time(15), UTC),
            score_raw=0.5, cost_usd=1, cost_status="reported",
        )  # fmt: skip

    def maintain(self, job: str, day: date, at: time) -> jobs.Report:
        """A maintenance job at its time of the simulated day."""
        moment = datetime.combine(day, at, UTC)
        report = jobs.run(job, self.world.settings, self.world.dsn, applies=True, moment=moment)
        assert report.problems == [], f"{day}: {report}"
        return report

    def aggregate(self, day: date) -> None:
        """A night as defs.transform goes about it, without Dagster and without dbt's tests."""
        settings, yesterday = self.world.settings, day - timedelta(days=1)
        with connect(self.world.dsn, role=jobs.ROLE, autocommit=True) as maintenance, maintenance_lock(maintenance, 60):
            days = aggregation.days_near_archive(maintenance, (yesterday, yesterday), with_touched=True)
            restore.bring_back(maintenance, settings.archive, days)
        with connect(self.world.dsn, role="tracemill_dbt", autocommit=True) as opened:
            plan = aggregation.plan(opened, yesterday, yesterday)
            assert plan.skipped == ()
            with aggregation.recorded(opened, plan):
                assert dbtRunner().invoke(["--quiet", "run"]).success

    def aggregate_by_dagster(self, day: date) -> None:
        """The nightly job itself."""
        yesterday = (day - timedelta(days=1)).isoformat()
        job = self.definitions.resolve_job_def("nightly_aggregation")
        result = job.execute_in_process(partition_key=yesterday, instance=self.instance)
        assert result.success
        self._stamp(result.run_id, datetime.combine(day, time(2), UTC))

    def plan_by_dagster(self, day: date) -> None:
        """A small run, as many are: a person's look at what a job would do."""
        job = self.definitions.resolve_job_def("maintain_partitions")
        self._stamp(job.execute_in_process(instance=self.instance).run_id, datetime.combine(day, time(1), UTC))

    def _stamp(self, run_id: str, moment: datetime) -> None:
        """Puts a run of now into the simulated past."""
        with psycopg.connect(self.world.dagster_dsn) as storage:
            values = {"run": run_id, "at": moment.replace(tzinfo=None), "seconds": moment.timestamp()}
            storage.execute(
                "update runs set start_time = %(seconds)s, end_time = %(seconds)s, create_timestamp = %(at)s, "
                "update_timestamp = %(at)s where run_id = %(run)s",
                values,
            )
            storage.execute("update event_logs set timestamp = %(at)s where run_id = %(run)s", values)
            storage.execute(
                "update asset_event_tags set event_timestamp = %(at)s "
                "where event_id in (select id from event_logs where run_id = %(run)s)",
                values,
            )
            storage.execute(
                "update asset_check_executions set create_timestamp = %(at)s where run_id = %(run)s", values
            )

    def pass_a_day(self) -> None:
        """What the real clock would do to holds."""
        self.connection.execute(
            "update ops.archived_months set held_until = held_until - interval '1 day' where held_until is not null"
        )
        self.connection.commit()

    def check_partitions(self, day: date) -> None:
        """The month and three more have a partition in every raw table, and no DEFAULT holds a row.

        What is audited is audited by the real clock, so the audit log is ahead of that.
        """
        missing = self.connection.execute(
            """
            select p.oid::regclass::text, month
            from pg_class as p
            cross join generate_series(0, 3) as n
            cross join lateral (
                select date_trunc('month', clock.today + n * interval '1 month')::date as month
                from (values ('raw'::regnamespace, %s::date), ('audit', current_date)) as clock (schema, today)
                where clock.schema = p.relnamespace
            ) as months
            where p.relkind = 'p'
                and not exists (
                    select from pg_inherits as i
                    join pg_class as c on c.oid = i.inhrelid
                    where i.inhparent = p.oid
                        and pg_get_expr(c.relpartbound, c.oid) like format('FOR VALUES FROM (''%%s %%%%', month)
                )
            """,
            [day],
        ).fetchall()
        assert missing == [], day
        defaults = self.connection.execute(
            "select c.oid::regclass::text from pg_class as c where c.relispartition "
            "and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'"
        ).fetchall()
        assert len(defaults) >= 4
        for (default,) in defaults:
            assert self.connection.execute(f"select count(*) from {default}").fetchone() == (0,), (day, default)
        self.connection.rollback()

    def check_nothing_is_lost(self, day: date) -> None:
        """Every row ever written is in its table or in a file that counts, and none is in two files."""
        for relation, key in KEYS.items():
            query = "select project_id, key from ledger.written where relation = %s"
            written = set(self.connection.execute(query, [relation]).fetchall())
            hot = set(self.connection.execute(f"select project_id, ({key})::text from {relation}").fetchall())
            files = self.connection.execute(
                "select path from ops.archive_files where relation = %s and superseded_at is null", [relation]
            ).fetchall()
            archived = [
                (project, value)
                for (path,) in files
                for project, value in self._archived(relation, path)
            ]  # fmt: skip
            assert len(archived) == len(set(archived)), (day, relation)
            assert hot | set(archived) == written, (day, relation)
        self.connection.rollback()

    def _archived(self, relation: str, path: str) -> list[tuple[str, str]]:
        """(project, key) of the rows in a file, read by pyarrow alone."""
        project = next(part for part in path.split("/") if part.startswith("project_id=")).partition("=")[2]
        key = KEYS[relation].removeprefix("concat_ws(':', ").removesuffix(")").split(", ")
        found = pyarrow.dataset.dataset(self.world.settings.archive / path).to_table(columns=key).to_pylist()
        return [(project, ":".join(str(row[name]) for name in key)) for row in found]

    def check_dagster_storage(self, day: date) -> int:
        """Nothing is older than the limit but the last word on a partition; returns how many events there are."""
        limit = datetime.combine(day, time(4, 30)) - dagster_events.KEEP
        with psycopg.connect(self.world.dagster_dsn) as storage:
            old = storage.execute(
                """
                select count(*), count(asset_key),
                    count(distinct (asset_key, partition, dagster_event_type)) filter (where asset_key is not null)
                from event_logs where timestamp < %s
                """,
                [limit],
            ).fetchone()
            assert old is not None
            assert old[0] == old[1] == old[2], (day, old)
            (total,) = storage.execute("select count(*) from event_logs where timestamp >= %s", [limit]).fetchone()
        return int(total)


def test_a_year_loses_nothing_and_keeps_every_number(world: World) -> None:
    with (
        connect(world.dsn) as connection,
        dg.DagsterInstance.get() as instance,
        dbt.exported(dbt.environment(world.settings, world.dsn)),
    ):
        year = Year(world, connection, instance)
        recent_events = []
        for number in range(DAYS):
            day = FIRST + timedelta(days=number)
            year.pass_a_day()
            year.maintain("maintain_partitions", day, time(0, 30))
            year.check_partitions(day)
            if number in DAGSTER_NIGHTS:
                year.aggregate_by_dagster(day)
            elif number in NIGHTS and number:
                year.aggregate(day)
            year.maintain("apply_retention", day, time(3, 30))
            if number % 10 == 0:
                year.plan_by_dagster(day)
            year.maintain("purge_dagster_events", day, time(4, 30))
            if day.day == 2:
                year.maintain("cleanup_audit_log", day, time(5))
            if number % 20 == 0:
                year.check_nothing_is_lost(day)
                recent_events.append(year.check_dagster_storage(day))
            year.arrive(number)

        last = FIRST + timedelta(days=DAYS)
        year.maintain("maintain_partitions", last, time(0, 30))
        year.aggregate_by_dagster(last)
        year.check_nothing_is_lost(last)
        assert max(recent_events[5:]) <= 2 * max(recent_events[:5]), recent_events
        check_what_left(connection)
        kept = marts.contents(connection)
        check_everything_comes_back(year)
        rebuilt = dbtRunner().invoke(["--quiet", "run", "--full-refresh"])
        assert rebuilt.success, rebuilt.exception
        assert marts.differing(kept, marts.contents(connection)) == []


def check_what_left(connection: psycopg.Connection) -> None:
    """The year did bring every kind of retention about."""
    left = connection.execute(
        "select relation, count(distinct month) from ops.archived_months where released_at is not null group by 1"
    ).fetchall()
    months = dict(left)
    assert months["raw.command_executions"] >= 9
    assert months["raw.outcomes"] >= 2
    assert (months["raw.optimization_samples"], months["audit.audit_log"]) == (1, 1)
    late_files = connection.execute("select count(*) from ops.archive_files where part > 1").fetchone()
    assert late_files is not None
    assert late_files[0] >= len(LATE)
    connection.rollback()


def check_everything_comes_back(year: Year) -> None:
    """After a restore of all, each table holds exactly the rows that were written, text for text."""
    with connect(year.world.dsn, role=jobs.ROLE, autocommit=True) as maintenance, maintenance_lock(maintenance, 60):
        away = [month for month in restore.listed(maintenance) if month.domain != "audit"]
        restore.restore(maintenance, year.world.settings.archive, away, timedelta(days=1))
    for relation, key in KEYS.items():
        if relation == "audit.audit_log":
            continue
        different = year.connection.execute(
            f"""
            select count(*)
            from (select project_id, ({key})::text as key, t::text as row_text from {relation} as t) as hot
            full join (select * from ledger.written where relation = %s) as written using (project_id, key)
            where hot.row_text is distinct from written.row_text
            """,
            [relation],
        ).fetchone()
        assert different == (0,), relation
    year.connection.rollback()
