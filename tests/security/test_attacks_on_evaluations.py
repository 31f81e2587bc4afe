"""Attempts to see, change, count or guess another project's evaluations.

Projects alpha (5 outcomes) and beta (7) have the same ids everywhere. ``analyst`` is a login that is a member of alpha.
"""

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, RaiseException, UniqueViolation

from pipelines.database import connect
from tests.attackers import WRITES, attackers
from tests.evaluation_rows import TABLES, add, value
from tests.evaluation_tenants import SHARED_IDS, fill

OUTCOMES = {"alpha": 5, "beta": 7}
VIEWS = ("raw.latest_config_versions", "raw.simulation_progress")


@pytest.fixture(scope="module")
def world(migrated_database):
    with migrated_database() as dsn:
        with connect(dsn) as owner:
            fill(owner, OUTCOMES)
            owner.execute("select ops.ensure_embedding_index('test', 3)")
        with connect(dsn, autocommit=True) as owner:
            owner.execute("analyze")
        with attackers(dsn) as made:
            yield made


@pytest.mark.parametrize("table", [*TABLES, *VIEWS])
def test_table_shows_own_rows_to_members_and_token_holders_and_nothing_to_others(world, analyst, service, table):
    assert value(service, f"select count(*) from {table}") == 0
    world.give_token(service, "alpha")
    for connection in (analyst, service):
        assert connection.execute(f"select distinct project_id from {table}").fetchall() == [("alpha",)]
        assert (
            value(connection, f"select count(*) from {table} where to_jsonb({table.split('.')[1]})::text ~ 'beta'") == 0
        )


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "attack",
    [
        "insert into {0} (project_id) select project_id from {0}",
        *WRITES,
        "select * from {0} for update",
        "select * from {0} for key share",
        "do $$ begin lock table {0} in row exclusive mode; end $$",
        "alter table {0} disable row level security",
        "comment on table {0} is 'mine'",
    ],
)
def test_tenant_roles_write_nothing(world, table, attack):
    with connect(world.member, role="app_admin", autocommit=True) as admin, pytest.raises(InsufficientPrivilege):
        admin.execute(attack.format(table))


def test_even_with_a_right_to_write_no_policy_lets_a_tenant_write(owner):
    """Somebody grants too much by mistake: policies still refuse what grants would allow."""
    owner.execute("grant insert, update, delete on raw.scenarios to app_user")
    owner.execute("insert into app.project_members values ('alpha', session_user)")
    owner.execute("set local role app_user")
    insert = "insert into raw.scenarios (project_id, scenario_id, name) values (%s, %s, 'Mine')"
    update = " on conflict (project_id, scenario_id) do update set name = 'Mine'"
    merge = (
        "merge into raw.scenarios as t using (values (%s, %s)) as s (project_id, id) on t.scenario_id = s.id and "
        "t.project_id = s.project_id when matched then update set name = 'Mine' when not matched then "
        "insert (project_id, scenario_id, name) values (s.project_id, s.id, 'Mine')"
    )
    for project in ("alpha", "beta"):
        for statement in (insert, insert + update, merge):
            for scenario in ("new", "book_a_flight"):
                with pytest.raises((InsufficientPrivilege, UniqueViolation)) as caught, owner.transaction():
                    if owner.execute(statement, [project, scenario]).rowcount == 0:
                        raise InsufficientPrivilege
                assert project == "alpha" or not isinstance(caught.value, UniqueViolation), "tells that the row exists"
    for statement in ("update raw.scenarios set name = 'Mine'", "delete from raw.scenarios"):
        assert owner.execute(statement).rowcount == 0


def test_cascades_stay_in_the_project_though_ids_are_the_same(owner):
    owner.execute("set local role tracemill_ingest")
    owner.execute("delete from raw.simulations where project_id = 'beta'")
    counts = "select project_id, count(*) from raw.outcomes group by project_id"
    assert owner.execute(counts).fetchall() == [("alpha", 5)]
    for table in ("tool_usage", "failure_patterns", "recommendations", "simulation_scenarios"):
        assert owner.execute(f"select distinct project_id from raw.{table}").fetchall() == [("alpha",)]


def test_foreign_key_does_not_reach_into_another_project(owner):
    owner.execute("set local role tracemill_ingest")
    add(owner, "raw.scenarios", project_id="beta", scenario_id="only_of_beta", name="Secret")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        add(
            owner, "raw.simulation_scenarios", project_id="alpha", simulation_id=SHARED_IDS["simulation_id"],
            scenario_id="only_of_beta", execution_order=9,
        )  # fmt: skip


def test_same_key_in_two_projects_is_no_conflict_and_so_no_oracle(owner):
    owner.execute("set local role tracemill_ingest")
    add(owner, "raw.scenarios", project_id="beta", scenario_id="guess", name="Secret")
    add(owner, "raw.scenarios", project_id="alpha", scenario_id="guess", name="Own")


def test_plan_kept_for_one_project_serves_the_next_one_its_own_rows(world, service):
    service.execute("set plan_cache_mode = force_generic_plan")
    service.execute("prepare mine as select project_id, count(*) from raw.outcomes group by project_id")
    for project in ("alpha", "beta", "alpha"):
        world.give_token(service, project)
        assert service.execute("execute mine").fetchall() == [(project, OUTCOMES[project])]
    service.execute("select set_config('app.token', '', false)")
    assert service.execute("execute mine").fetchall() == []


def test_cursor_opened_before_a_token_was_lost_holds_own_rows_only(world, service):
    world.give_token(service, "alpha")
    service.execute("begin")
    service.execute("declare c cursor with hold for select project_id from raw.outcomes")
    service.execute("commit")
    world.give_token(service, "beta")
    assert {row for (row,) in service.execute("fetch all from c")} == {"alpha"}


def test_error_messages_hold_values_of_own_rows_only(analyst):
    for cast in (
        "task_prompt::integer",
        "search_vector::text::integer",
        "(1 / (length(task_prompt) - 10000))::text::xml",
    ):
        with pytest.raises(psycopg.Error) as caught:
            analyst.execute(f"select {cast} from raw.scenarios where project_id = 'beta' or true").fetchall()
        assert "beta" not in str(caught.value)
    blind = "select 1 / (case when project_id = 'beta' then 0 else 1 end) from raw.scenarios"
    assert analyst.execute(blind).fetchall() == [(1,)]


def test_cheap_function_in_a_condition_is_given_own_rows_only(analyst):
    seen = []
    analyst.add_notice_handler(lambda notice: seen.append(notice.message_primary))
    analyst.execute(
        "create function pg_temp.leak(text) returns boolean language plpgsql cost 0.0001 as "
        "$$ begin raise notice '%', $1; return true; end $$"
    )
    for source, column in (
        ("raw.scenarios", "task_prompt"),
        ("raw.failure_patterns", "error_message"),
        ("raw.latest_config_versions", "model"),
        ("raw.outcomes", "error_code"),
        ("raw.config_diffs", "diff_yaml"),
    ):
        analyst.execute(f"select * from {source} where pg_temp.leak({column})")
    assert len(seen) >= 5
    assert not any("beta" in str(text) for text in seen)


def test_functions_that_run_sql_from_text_run_it_as_the_asker(analyst):
    for query in (
        "select string_agg(word, ' ') from ts_stat('select search_vector from raw.scenarios')",
        "select string_agg(word, ' ') from ts_stat('select search_vector from raw.failure_patterns')",
    ):
        text = value(analyst, query)
        assert "alpha" in text
        assert "beta" not in text


def test_nearest_neighbours_are_own_ones_and_enough_of_them(analyst, owner):
    """Beta's vectors are the nearest: an index that is asked for five and then filtered would give none."""
    nearest = (
        "select project_id from raw.embeddings where model = 'test' and dimensions = 3 "
        "order by embedding::halfvec(3) <=> '[1, 0.05, 1]'::halfvec(3) limit 5"
    )
    assert {project for (project,) in owner.execute(nearest)} == {"beta"}
    for setting in ("enable_seqscan = off", "enable_bitmapscan = off", "enable_sort = off"):
        analyst.execute(f"set {setting}")
    analyst.execute("set hnsw.iterative_scan = strict_order")
    assert "embeddings_3_" in str(analyst.execute("explain " + nearest).fetchall())
    assert analyst.execute(nearest).fetchall() == [("alpha",)] * 5


def test_statistics_of_columns_are_hidden(analyst):
    for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        assert (
            value(analyst, f"select count(*) from {view} where schemaname in ('raw', 'partitions', 'app', 'audit')")
            == 0
        )


def test_nothing_is_announced_to_those_who_listen(world, analyst):
    names = [name for (name,) in analyst.execute("select pg_listening_channels()")]
    analyst.execute("listen raw; listen outcomes; listen tracemill; listen audit_log; listen run_events")
    with connect(world.dsn) as owner:
        add(owner, "raw.scenarios", project_id="beta", scenario_id="announced", name="Secret")
    assert names == []
    assert list(analyst.notifies(timeout=0.3)) == []


@pytest.mark.parametrize(
    "role", ["tracemill_owner", "tracemill_ingest", "tracemill_dbt", "postgres", "tracemill_reader"]
)
@pytest.mark.parametrize("way", ["set role {}", "set session authorization {}", "grant {} to current_user"])
def test_nobody_becomes_a_platform_role(analyst, role, way):
    with pytest.raises((InsufficientPrivilege, psycopg.errors.InvalidGrantOperation)):
        analyst.execute(way.format(role))
        raise RaiseException("became it")


def test_platform_functions_are_out_of_reach(analyst):
    for call in (
        "ops.ensure_embedding_index('x', 3)",
        "ops.ensure_table_partitions(null, '2030-01-01', '2030-01-01')",
        "ops.set_updated_at()",
        "audit.record_changes()",
        "audit.verify_chain(current_date)",
        "app.open_session('beta')",
        "pg_advisory_lock(1)",
        "lo_import('/etc/passwd')",
        "pg_ls_waldir()",
    ):
        with pytest.raises((InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
            analyst.execute(f"select {call}")


def test_large_object_of_one_login_is_closed_to_others(analyst, service):
    number = value(analyst, "select lo_from_bytea(0, 'own')")
    with pytest.raises(InsufficientPrivilege):
        service.execute("select lo_get(%s)", [number])
    analyst.execute("select lo_unlink(%s)", [number])


def test_own_tables_of_the_same_name_do_not_stand_in_for_those_of_triggers(owner):
    """The audit trigger and the version numbers look at schemas by name, whatever stands in front of the path."""
    owner.execute("create temp table config_versions (project_id text, config_id uuid, version_number integer)")
    owner.execute("insert into config_versions values ('alpha', %s, 900)", [SHARED_IDS["config_id"]])
    owner.execute("create temp table chain_heads (like audit.chain_heads)")
    owner.execute("set local search_path = pg_temp, raw, audit, pg_catalog")
    made = add(
        owner, "raw.config_versions", project_id="alpha", config_id=SHARED_IDS["config_id"], raw_yaml="later",
        parsed_config={},
    )  # fmt: skip
    assert made["version_number"] == 3
    assert value(owner, "select count(*) from pg_temp.chain_heads") == 0
