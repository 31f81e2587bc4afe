"""Attempts to see, change, count or guess another project's optimization runs.

Projects alpha (5 runs) and beta (7) have the same ids everywhere. ``analyst`` is a login that is a member of alpha,
``service`` one that is a member of nothing and acts by token.
"""

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pipelines.database import connect
from tests.attackers import WRITES, attackers
from tests.evaluation_rows import value
from tests.optimization import Iteration, add_iterations, insert, iteration_row, register, stored
from tests.optimization_tenants import TABLES, add_runs, run_id

RUNS = {"alpha": 5, "beta": 7}


@pytest.fixture(scope="module")
def world(migrated_database):
    with migrated_database() as dsn:
        with connect(dsn) as owner:
            register(owner, *RUNS)
            for project, count in RUNS.items():
                add_runs(owner, project, count)
        with connect(dsn, autocommit=True) as owner:
            owner.execute("analyze raw.optimization_runs, raw.optimization_iterations, raw.optimization_samples")
        with attackers(dsn) as made:
            yield made


@pytest.mark.parametrize("table", TABLES)
def test_table_shows_own_rows_to_members_and_token_holders_and_nothing_to_others(world, analyst, service, table):
    assert value(service, f"select count(*) from {table}") == 0
    world.give_token(service, "alpha")
    for connection in (analyst, service):
        assert connection.execute(f"select project_id, count(*) from {table} group by 1").fetchall() == [("alpha", 5)]
        assert value(connection, f"select count(*) from {table} as t where to_jsonb(t)::text ~ 'beta'") == 0


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "attack",
    [
        "insert into {0} select * from {0}",
        *WRITES,
        "select * from {0} for update skip locked",
        "lock table {0} in share mode",
        "alter table {0} no force row level security",
        "create index mine on {0} (project_id)",
        "create trigger mine before insert on {0} for each row execute function suppress_redundant_updates_trigger()",
        "create rule mine as on select to {0} do instead select 1",
        "create statistics mine on project_id, created_at from {0}",
        "create temp table mine (like {0} including all, foreign key (project_id) references {0} (project_id))",
        "vacuum {0}",
        "cluster {0}",
        "reindex table {0}",
        "create publication mine for table {0}",
        "security label on table {0} is 'mine'",
    ],
)
def test_tenant_roles_write_and_define_nothing(world, table, attack):
    with connect(world.member, role="app_admin", autocommit=True) as admin:
        notices: list[str] = []
        admin.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        with pytest.raises(psycopg.Error) as caught:
            admin.execute(attack.format(table))
            raise InsufficientPrivilege(*notices)
        assert not isinstance(caught.value, psycopg.errors.UniqueViolation), "tells that the row exists"


def test_functions_about_runs_answer_about_own_runs_though_ids_are_the_same(world, analyst, service):
    summary = "select project_id, run_name from app.get_optimization_run_summary(%s)"
    assert analyst.execute(summary, [run_id(3)]).fetchall() == [("alpha", "secret of alpha 3")]
    assert analyst.execute(summary, [run_id(7)]).fetchall() == [], "which only beta has"
    assert analyst.execute("select * from app.get_top_runs_by_score('beta')").fetchall() == []
    world.give_token(service, "beta")
    assert service.execute(summary, [run_id(7)]).fetchall() == [("beta", "secret of beta 7")]
    assert service.execute("select * from app.get_top_runs_by_score('alpha')").fetchall() == []


def test_cascades_and_statistics_stay_in_the_project_though_ids_are_the_same(owner):
    before = stored(owner, run_id(2), "beta")
    owner.execute("set local role tracemill_ingest")
    add_iterations(owner, run_id(2), Iteration(9, 99, tokens=7))
    assert stored(owner, run_id(2), "beta") == before
    owner.execute("delete from raw.optimization_runs where project_id = 'alpha'")
    for table in TABLES:
        assert owner.execute(f"select project_id, count(*) from {table} group by 1").fetchall() == [("beta", 7)]


def test_iteration_is_not_hung_on_a_run_that_only_another_project_has(owner):
    owner.execute("set local role tracemill_ingest")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        insert(owner, "optimization_iterations", [iteration_row(run_id(7), Iteration(2, 50))])


LEAKS = {
    "function": ("", "pg_temp.tell(run_name) and pg_temp.tell(config::text)"),
    "operator": (
        "create function pg_temp.told(jsonb, jsonb) returns boolean language sql cost 0.0001 as "
        "$$ select pg_temp.tell($1::text) $$;"
        "create operator pg_temp.@> (leftarg = jsonb, rightarg = jsonb, function = pg_temp.told)",
        "config operator(pg_temp.@>) '{}' or run_name = ''",
    ),
    "domain": (
        "create domain pg_temp.told as text check (pg_temp.tell(value))",
        "(run_name::pg_temp.told) is not null and tags::pg_temp.told[] @> '{}'",
    ),
    "cast": (
        "create type pg_temp.box as (inside text);"
        "create function pg_temp.boxed(text) returns pg_temp.box language plpgsql as "
        "$$ begin perform pg_temp.tell($1); return row($1); end $$",
        "(pg_temp.boxed(run_name)).inside is not null",
    ),
    "aggregate": (
        "create function pg_temp.step(integer, text) returns integer language plpgsql as "
        "$$ begin perform pg_temp.tell($2); return 1; end $$;"
        "create aggregate pg_temp.all_told(text) (sfunc = pg_temp.step, stype = integer)",
        "exists (select pg_temp.all_told(run_name) from raw.optimization_runs)",
    ),
}


@pytest.mark.parametrize("way", LEAKS)
def test_own_code_in_a_condition_is_given_own_rows_only(analyst, way):
    """Containment is marked as leaking nothing: what a caller puts around or in place of it is not."""
    seen: list[str] = []
    analyst.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
    analyst.execute(
        "create function pg_temp.tell(text) returns boolean language plpgsql cost 0.0001 as "
        "$$ begin raise notice '%', $1; return true; end $$"
    )
    prepared, condition = LEAKS[way]
    analyst.execute(prepared)
    analyst.execute("set enable_indexscan = off; set enable_bitmapscan = off; set enable_indexonlyscan = off")
    analyst.execute(f"select run_name from raw.optimization_runs where {condition}")
    assert len(seen) >= 5
    assert all("alpha" in text for text in seen), seen


@pytest.mark.parametrize(
    "condition",
    [
        "1 / (case when project_id = 'beta' then 0 else 1 end) = 1",
        "run_name::integer = 1 or project_id = 'beta'",
        "(config ->> 'model')::numeric > 0",
        "jsonb_path_exists(config, '$.model.double()')",
        "(('{\"' || run_name || '\"')::jsonb) is not null",
        "xmlparse(document run_name) is not null",
    ],
)
def test_errors_that_a_condition_provokes_tell_of_own_rows_only(analyst, condition):
    try:
        analyst.execute(f"select 1 from raw.optimization_runs where {condition}")
    except psycopg.Error as error:
        assert "beta" not in str(error)


@pytest.mark.parametrize(
    "query",
    [
        "select count(*) from raw.optimization_runs tablesample system (100)",
        "select count(*) from raw.optimization_runs tablesample bernoulli (100)",
        "select count(*) from only raw.optimization_runs",
        "select count(*) from raw.optimization_runs where ctid >= '(0,0)'",
        "select count(*) from (select * from raw.optimization_runs offset 0) as t",
        "with t as materialized (table raw.optimization_runs) select count(*) from t",
        "with recursive t (n) as (select 0 union all select n + 1 from t where n < 9) "
        "select count(*) from t join raw.optimization_runs as r on r.final_score_raw = 10 * t.n",
        "select count(distinct r.id) from raw.optimization_iterations as i "
        "full join raw.optimization_runs as r on r.id = i.run_id and r.project_id <> i.project_id",
        "select count(*) from jsonb_array_elements((select jsonb_agg(r) from raw.optimization_runs as r))",
        "select max(rank) from (select rank() over (order by id) from raw.optimization_runs) as t",
        "select sum(n) from (select count(*) as n from raw.optimization_runs group by grouping sets ((project_id))) t",
    ],
)
def test_however_it_is_asked_the_number_is_that_of_own_rows(analyst, query):
    assert value(analyst, query) == 5


def test_cursor_sees_own_rows_and_keeps_to_them_when_the_role_changes(world, analyst):
    with analyst.transaction():
        analyst.execute("declare runs scroll cursor for select project_id from raw.optimization_runs")
        analyst.execute("set local role app_admin")
        world.give_token(analyst, "alpha")
        assert analyst.execute("fetch all from runs").fetchall() == [("alpha",)] * 5


def test_membership_and_token_add_up_to_what_their_holder_may_see_and_no_more(world, analyst):
    world.give_token(analyst, "beta")
    assert analyst.execute(
        "select project_id, count(*) from raw.optimization_runs group by 1 order by 1"
    ).fetchall() == [
        ("alpha", 5),
        ("beta", 7),
    ]
    analyst.execute("select set_config('app.token', '', false)")
    assert value(analyst, "select count(*) from raw.optimization_runs") == 5


def test_membership_ends_at_once_in_sessions_that_are_open(world, owner, analyst):
    assert value(analyst, "select count(*) from raw.optimization_runs") == 5
    analyst.execute("prepare mine as select count(*) from raw.optimization_runs")
    assert analyst.execute("execute mine").fetchone() == (5,)
    taken = owner.execute(
        "delete from app.project_members where project_id = 'alpha' returning project_id, member_role"
    ).fetchone()
    owner.commit()
    try:
        assert analyst.execute("execute mine").fetchone() == (0,)
    finally:
        owner.execute("insert into app.project_members (project_id, member_role) values (%s, %s)", taken)
        owner.commit()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "condition", ["true", "project_id = 'beta'", "project_id <> 'alpha'", "created_at is not null"]
)
def test_plan_by_index_counts_no_rows_of_others(analyst, table, condition):
    """A scan of the whole table says how many rows its filter removed; the index never meets them."""
    analyst.execute("set enable_seqscan = off")
    explain = "explain (analyze, costs off, timing off, summary off, buffers off, format json) "
    (plan,) = analyst.execute(f"{explain} select 1 from {table} where {condition}").fetchone()
    text = str(plan)
    assert "Index Cond" in text
    assert "'Rows Removed by Filter': 7" not in text
    assert "'Rows Removed by Filter': 12" not in text


def test_statistics_of_columns_are_hidden(analyst):
    for view in ("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"):
        assert value(analyst, f"select count(*) from {view} where tablename like 'optimization%'") == 0
    for catalogue in ("pg_statistic", "pg_statistic_ext_data", "pg_authid", "pg_subscription", "pg_user_mapping"):
        with pytest.raises(InsufficientPrivilege):
            analyst.execute(f"select * from {catalogue}")


def test_texts_of_statements_that_others_ran_are_hidden(world, analyst):
    with connect(world.dsn, autocommit=True) as owner:
        owner.execute("select 'canary of beta' from raw.optimization_runs where project_id = 'beta'")
    assert value(analyst, "select count(*) from pg_stat_activity where query like '%canary of ' || 'beta%'") == 0
    with pytest.raises(InsufficientPrivilege):
        analyst.execute("select query from pg_stat_statements")


@pytest.mark.parametrize(
    "attack",
    [
        "set session authorization default; set role none; table priv.sessions",
        "select ops.recompute_optimization_statistics(array['beta'], array[gen_random_uuid()])",
        "select ops.flag_best_iterations(array['beta'], array[gen_random_uuid()])",
        "select pg_create_logical_replication_slot('mine', 'test_decoding')",
        "select pg_create_physical_replication_slot('mine')",
        "select pg_promote()",
        "select pg_stat_reset()",
        "select pg_stat_statements_reset()",
        "set session_replication_role = replica",
        "set log_statement = 'all'",
        "load 'auto_explain'",
        "create extension dblink",
        "create extension postgres_fdw",
        "create event trigger mine on ddl_command_end execute function f()",
        "create function mine() returns void language c as '/tmp/x', 'f'",
        "alter system set row_security = off",
        "alter role current_user bypassrls",
        "alter database postgres set row_security = off",
        "comment on policy own_projects on raw.optimization_runs is 'mine'",
        "drop policy own_projects on raw.optimization_runs",
        "copy (select 1) to program 'true'",
        "do $$ begin execute 'set local role tracemill_owner'; end $$",
    ],
)
def test_attack_on_the_server_is_refused(analyst, attack):
    with pytest.raises((InsufficientPrivilege, psycopg.errors.UndefinedFunction, psycopg.errors.FeatureNotSupported)):
        analyst.execute(attack)
