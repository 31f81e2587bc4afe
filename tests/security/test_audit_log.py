"""The audit log records every change of audited tables, holds no secrets, and shows when somebody tampers with it."""

import json
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pipelines.database import connect
from tests.evaluation_rows import add, add_evaluation, add_version, value

AUDITED = {
    "raw.configurations": "is_active = false",
    "raw.config_versions": "is_deleted = true",
    "raw.config_diffs": "approval_status = 'approved', approved_by = 'ana', approved_at = now()",
    "raw.scenarios": "name = 'Other name'",
    "raw.recommendations": "applied = true, applied_at = now()",
    "app.project_members": "granted_at = '2020-01-01Z'",
    "app.api_keys": "revoked_at = now()",
}
SECRET = "Tr0ub4dor-und-3"


@pytest.fixture(scope="module")
def database(migrated_database):
    """DSN of a database with a row in every audited table of project alpha."""
    with migrated_database() as dsn:
        with connect(dsn) as connection:
            connection.execute("select ops.ensure_month_partitions('2026-03-01', '2026-03-01')")
            for project in ("alpha", "beta"):
                add(connection, "app.project_config", project_id=project, display_name=project)
            add_evaluation(connection, "alpha")
            add(connection, "app.project_members", project_id="alpha", member_role="ana")
            add(connection, "app.api_keys", project_id="alpha", name="ci", key_hash=b"\0" * 32)
        yield dsn


@pytest.fixture
def audited(database):
    """Superuser connection; what a test does not commit is undone."""
    with connect(database) as opened:
        yield opened
        opened.rollback()


def entries(connection, table, operation, project="alpha"):
    rows = connection.execute(
        "select old_data, new_data from audit.audit_log where table_name = %s and operation = %s and project_id = %s "
        "order by chain_number",
        [table, operation, project],
    )
    return rows.fetchall()


def problems(connection):
    return connection.execute("select * from audit.verify_chain(current_date)").fetchall()


@pytest.mark.parametrize("table", AUDITED)
def test_c3_every_change_of_an_audited_table_is_recorded(audited, table):
    rows = value(audited, f"select count(*) from {table}")
    column, _, after = AUDITED[table].split(",")[0].partition(" = ")
    inserted = entries(audited, table, "INSERT")
    assert len(inserted) == rows
    assert all(old is None and new["project_id"] == "alpha" for old, new in inserted)

    audited.execute(f"update {table} set {AUDITED[table]}")
    changed = entries(audited, table, "UPDATE")
    assert len(changed) == rows
    assert all(old[column] != new[column] for old, new in changed)
    assert after in ("now()", "'2020-01-01Z'") or {str(new[column]).lower() for _, new in changed} == {
        after.strip("'").lower()
    }

    audited.execute(f"update {table} set project_id = project_id")
    assert entries(audited, table, "UPDATE") == changed, "nothing changed, nothing to record"

    audited.execute(f"truncate {table} cascade")
    assert ({"rows": rows}, None) in entries(audited, table, "TRUNCATE")
    projects = audited.execute("select distinct project_id from audit.audit_log where operation = 'TRUNCATE'")
    assert {"alpha", "*"} <= {project for (project,) in projects}
    assert problems(audited) == []


def test_who_changes_what_is_kept_of_a_project_is_recorded(audited):
    audited.execute("""update app.project_config set settings = '{"legal_hold": true}' where project_id = 'alpha'""")
    audited.execute("update app.project_config set settings = '{}', monthly_budget_usd = 5 where project_id = 'alpha'")
    audited.execute(
        "insert into app.project_config (project_id, display_name) values ('alpha', '') on conflict do nothing"
    )
    held, released = entries(audited, "app.project_config", "UPDATE")
    assert (held[0]["settings"], held[1]["settings"]) == ({}, {"legal_hold": True})
    assert (released[1]["settings"], released[1]["monthly_budget_usd"]) == ({}, 5)
    assert len(entries(audited, "app.project_config", "INSERT")) == 1


@pytest.mark.parametrize("table", [table for table in AUDITED if table != "raw.config_versions"])
def test_deleted_rows_are_recorded_as_they_were(audited, table):
    for child in ("raw.recommendations", "raw.simulations", "raw.config_diffs"):
        audited.execute(f"delete from {child}")
    if table == "raw.configurations":
        add(audited, table, project_id="alpha", name="unused")
        audited.execute("delete from raw.configurations where name = 'unused'")
    else:
        audited.execute(f"delete from {table}")
    deleted = entries(audited, table, "DELETE")
    assert len(deleted) == 1
    assert deleted[0][0] == entries(audited, table, "INSERT")[-1][1]


def test_who_changed_it_is_recorded(audited, database):
    with connect(database, role="tracemill_ingest") as writer:
        writer.execute("select set_config('app.user_id', 'ana', true), set_config('app.key_id', 'key-7', true)")
        add(writer, "raw.configurations", project_id="gamma", name="agent")
    entry = audited.execute(
        "select user_id, key_id, login_role, active_role, user_agent, timestamp from audit.audit_log "
        "where project_id = 'gamma'"
    ).fetchone()
    assert entry[:5] == ("ana", "key-7", audited.info.user, "tracemill_ingest", "tracemill")
    assert abs((entry[5] - datetime.now(UTC)).total_seconds()) < 60


def test_merge_conflict_update_copy_and_cascade_are_recorded(audited):
    audited.execute(
        "insert into raw.scenarios (project_id, scenario_id, name) values ('alpha', 'book_a_flight', 'New') "
        "on conflict (project_id, scenario_id) do update set name = excluded.name"
    )
    audited.execute(
        "merge into raw.scenarios as t using (values ('one'), ('book_a_flight')) as s (id) on t.scenario_id = s.id "
        "when matched then update set name = 'Merged' "
        "when not matched then insert (project_id, scenario_id, name) values ('alpha', s.id, 'Merged')"
    )
    with audited.cursor().copy("copy raw.scenarios (project_id, scenario_id, name) from stdin") as copy:
        copy.write_row(("beta", "copied", "Copied"))
    names = [new["name"] for _, new in entries(audited, "raw.scenarios", "UPDATE")]
    assert names == ["New", "Merged"]
    assert len(entries(audited, "raw.scenarios", "INSERT")) == 2
    assert len(entries(audited, "raw.scenarios", "INSERT", "beta")) == 1
    audited.execute("delete from raw.simulations")
    assert len(entries(audited, "raw.recommendations", "DELETE")) == 1


def test_row_that_moves_leaves_one_project_and_enters_the_other(audited):
    audited.execute("delete from raw.simulations")
    audited.execute("update raw.scenarios set project_id = 'beta'")
    ((left, nothing),) = entries(audited, "raw.scenarios", "UPDATE")
    ((nothing_before, entered),) = entries(audited, "raw.scenarios", "UPDATE", "beta")
    assert nothing is nothing_before is None
    assert left == {**entered, "project_id": "alpha"}


def test_no_secret_that_sql_brings_is_in_the_log(audited):
    config = add(audited, "raw.configurations", project_id="beta", name="agent")["config_id"]
    nested = {"a": [{"clientSecret": SECRET, "b": {"Api-Key": {"value": SECRET}}}], "db_password": SECRET}
    text = json.dumps(json.dumps({"password": SECRET}))
    add_version(
        audited, "beta", config,
        f"password: {SECRET}\nurl: postgres://u:{SECRET}@host/db\nheader: Authorization: Bearer {SECRET}\n"
        f"env: AWS_SECRET_ACCESS_KEY='{SECRET}'\njson: {text}\nmax_tokens: 4096",
        parsed_config={**nested, "max_tokens": 4096, "token_usage": 7, "note": f"api_key={SECRET}"},
    )  # fmt: skip
    add(
        audited, "raw.scenarios", project_id="beta", scenario_id="s", name="s",
        task_prompt="Key sk-" + "a1B2" * 10 + " and ghp_" + "x9" * 18
        + f"; deploy --api-key {SECRET} --db-password '{SECRET}', curl -u admin:{SECRET} host, mysql -uroot -p{SECRET}",
        ground_truth=f'"sshpass -p {SECRET} ssh host; agent --max-tokens 4096 -u root"',
    )  # fmt: skip
    add(audited, "app.api_keys", project_id="beta", name="ci", key_hash=b"hash of the key of thirty two b.")
    stored = str(audited.execute("select old_data, new_data from audit.audit_log").fetchall())
    for secret in (SECRET, "a1B2a1B2", "x9x9", b"hash of the key".hex()):
        assert secret not in stored
    scenario = entries(audited, "raw.scenarios", "INSERT", "beta")[-1][1]
    assert "--max-tokens 4096 -u root" in str(scenario["ground_truth"])
    kept = entries(audited, "raw.config_versions", "INSERT", "beta")[-1][1]
    assert kept["parsed_config"]["max_tokens"] == 4096
    assert kept["parsed_config"]["token_usage"] == 7
    assert "max_tokens: 4096" in kept["raw_yaml"]
    assert kept["parsed_config"]["a"][0]["clientSecret"] == "[REDACTED]"


def test_hostile_documents_are_recorded_in_bounded_time(audited):
    deep = "[" * 3000 + '"password: x"' + "]" * 3000
    audited.execute("set local statement_timeout = '20s'")
    audited.execute(
        "insert into raw.scenarios (project_id, scenario_id, name, ground_truth, task_prompt) "
        "values ('beta', 's', 's', %s, %s)",
        [deep, "token" * 200_000 + "\\\\" * 100_000 + '"' * 100_000],
    )
    assert "nested too deeply" in str(entries(audited, "raw.scenarios", "INSERT", "beta")[-1])


@pytest.mark.parametrize("statement", ["update audit.audit_log set user_id = 'eve'", "delete from audit.audit_log"])
def test_nobody_changes_an_entry_not_even_a_superuser(audited, statement):
    for role in ("none", "tracemill_owner", "tracemill_ingest", "tracemill_dbt"):
        with pytest.raises(InsufficientPrivilege), audited.transaction():
            audited.execute(f"set local role {role}")
            audited.execute(statement)
    month = value(audited, "select 'audit_log_' || to_char(current_date, 'YYYY_MM')")
    for table in ("audit.audit_log", f"partitions.{month}", "partitions.audit_log_default"):
        with pytest.raises(InsufficientPrivilege, match="only ever added to"), audited.transaction():
            audited.execute(f"truncate {table}")


CHANGED, MISSING = "the entry was changed", "entries before it are missing"
UNLINKED, END = "it does not follow the entry before it", "the end of the chain is not the noted one"


@pytest.mark.parametrize(
    ("tampering", "number", "problem"),
    [
        ("update audit.audit_log set user_id = 'eve' where chain_number = 3", 3, CHANGED),
        ("update audit.audit_log set new_data = new_data || '{}' || '[1]' where chain_number = 1", 1, CHANGED),
        ("update audit.audit_log set timestamp = timestamp + '1 ms' where chain_number = 2", 2, CHANGED),
        ("delete from audit.audit_log where chain_number = 4", 5, MISSING),
        ("delete from audit.audit_log where chain_number = 1", 2, MISSING),
        ("delete from audit.audit_log where chain_number = last", -1, END),
        ("delete from audit.audit_log where chain_number > 0", 0, END),
        ("delete from audit.chain_heads where last_number > 0", 0, END),
        (
            """
            update audit.audit_log as a
            set user_id = 'eve', entry_hash = audit.hash_of(jsonb_populate_record(a, '{"user_id": "eve"}'))
            where chain_number = 2
            """,
            3,
            UNLINKED,
        ),
    ],
)
def test_tampering_by_a_superuser_who_silences_the_triggers_shows(audited, tampering, number, problem):
    assert problems(audited) == []
    last = value(audited, "select last_number from audit.chain_heads where project_id = 'alpha'")
    audited.execute("set local session_replication_role = replica")
    audited.execute(tampering.replace("= last", f"= {last}") + " and project_id = 'alpha'")
    assert problems(audited) == [("alpha", last + number if number <= 0 else number, problem)]


def test_writers_of_one_project_make_one_unbroken_chain(audited, database):
    with connect(database) as one, connect(database) as other:
        for number in range(5):
            for writer, name in ((one, "one"), (other, "other")):
                add(writer, "raw.configurations", project_id="delta", name=f"{name} {number}")
                writer.commit()
        add(one, "raw.configurations", project_id="delta", name="undone")
        one.rollback()
    numbers = audited.execute("select chain_number from audit.audit_log where project_id = 'delta' order by timestamp")
    assert [number for (number,) in numbers] == list(range(1, 11))
    assert problems(audited) == []


def test_month_without_a_partition_gets_one_when_it_is_written(audited):
    month = value(audited, "select to_char(current_date, 'YYYY_MM')")
    audited.execute("set session_replication_role = replica")
    audited.execute("delete from audit.chain_heads")
    audited.execute(f"drop table partitions.audit_log_{month}")
    audited.execute("set session_replication_role = default")
    add(audited, "raw.configurations", project_id="beta", name="agent")
    assert value(audited, f"select count(*) from partitions.audit_log_{month}") == 1
    assert value(audited, "select count(*) from partitions.audit_log_default") == 0


def test_project_admin_sees_and_verifies_the_chain_of_the_own_project_only(audited, database):
    add(audited, "raw.configurations", project_id="beta", name="agent of beta")
    token = value(audited, "select app.open_session('alpha')")
    audited.commit()
    with connect(database, role="app_admin") as admin:
        assert value(admin, "select count(*) from audit.audit_log") == 0
        admin.execute("select set_config('app.token', %s, false)", [token])
        for table in ("audit_log", "chain_heads"):
            assert admin.execute(f"select distinct project_id from audit.{table}").fetchall() == [("alpha",)]
        assert problems(admin) == []
        assert admin.execute("select name from app.api_keys").fetchall() == [("ci",)]
        for forbidden in (
            "select key_hash from app.api_keys",
            "insert into audit.audit_log select * from audit.audit_log",
            "update audit.chain_heads set last_number = 0",
            "select audit.redact('{}')",
            "insert into app.api_keys (project_id, key_hash, name) values ('alpha', sha256('x'), 'mine')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), admin.transaction():
                admin.execute(forbidden)
    with connect(database, role="app_readonly") as reader, pytest.raises(InsufficientPrivilege):
        reader.execute("select count(*) from audit.audit_log")
